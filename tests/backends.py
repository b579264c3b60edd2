"""The same toy models on another Keras backend:  python -m tests.backends write|compare FILE

`write` stores the outputs on the current backend, `compare` holds the current backend against a stored file. Weights
and inputs come from their names, so the file holds outputs alone.
"""

import sys

import keras
import numpy as np

from tests.golden.seeded import seeded, seeded_image
from tests.models.toys import TOYS

TOLERANCE = 2e-5  # of the standard deviation of the outputs: float32 sums in another order


def outputs(toy):
    """Logits of two images, (2, 5) float64."""
    variant, shape = TOYS[toy]
    model = variant(weights=None, input_shape=shape, classes=5, classifier_activation=None)
    for variable in model.weights:
        variable.assign(seeded(variable.path, tuple(variable.shape)).astype("float32"))
    images = np.concatenate([seeded_image(seed, *shape) for seed in (0, 1)])
    if keras.backend.backend() == "jax":  # compiled as one: JAX would compile each operation on its own otherwise
        return model.predict_on_batch(images).astype("float64")
    return keras.ops.convert_to_numpy(model(images, training=False)).astype("float64")


def main(action, path):
    if action == "write":
        np.savez(path, **{toy: outputs(toy) for toy in TOYS})
        return 0
    expected, failed = np.load(path), 0
    for toy in TOYS:
        difference = np.abs(outputs(toy) - expected[toy]).max() / expected[toy].std()
        failed += not difference <= TOLERANCE
        print(f"{keras.backend.backend()} {toy}: {difference:.1e} of {TOLERANCE:.0e}", flush=True)
    print(f"{len(TOYS) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
