"""The same toy models on another Keras backend:  python -m tests.backends write FILE [HxW ...] | compare FILE

`write` stores the outputs on the current backend, of the toys' own size and, of models that are built for them, of
other sizes. `compare` holds the current backend against a stored file: a model of the toy's own size, and one of any
size, which gets them all. Weights and inputs come from their names, so the file holds outputs alone.
"""

import pathlib
import sys
import tempfile

import keras
import numpy as np

from tests.golden.seeded import seeded, seeded_image
from tests.models.toys import TOYS

TOLERANCE = 1e-5  # of the standard deviation of the outputs: float32 sums in another order
SIZES = ("64x96", "71x133")


def build(toy, **options):
    """A toy with logits of five classes."""
    options = {"weights": None, "input_shape": TOYS[toy][1], **options}
    return TOYS[toy][0](classes=5, classifier_activation=None, **options)


def seed(model):
    """Weights drawn from their names."""
    for variable in model.weights:
        variable.assign(seeded(variable.path, tuple(variable.shape)).astype("float32"))
    return model


def outputs(model, size):
    """Logits of two images, (2, 5) float64."""
    images = np.concatenate([seeded_image(seed, *size) for seed in (0, 1)])
    if keras.backend.backend() == "jax":  # compiled as one: JAX would compile each operation on its own otherwise
        return model.predict_on_batch(images).astype("float64")
    return keras.ops.convert_to_numpy(model(images, training=False)).astype("float64")


def pixels(size):
    """Of 64x96 the numbers (64, 96)."""
    return tuple(map(int, size.split("x")))


def expected(toy, sizes):
    """{toy: outputs of its own size, toy@HxW: those of a model that is built for the size and loads its weights}."""
    model, native = seed(build(toy)), TOYS[toy][1][:2]
    found = {toy: outputs(model, native)}
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "native.keras"))
        model.save(path)
        for size in sizes:
            fixed = build(toy, weights=path, input_shape=(*pixels(size), 3), dynamic_img_pad=True)
            found[f"{toy}@{size}"] = outputs(fixed, pixels(size))
    return found


def compare(toy, stored):
    """{name of stored outputs: the difference of the current backend's, in their standard deviation}."""
    native = TOYS[toy][1][:2]
    found = {toy: outputs(seed(build(toy)), native)}
    any_size = seed(build(toy, input_shape=(None, None, 3), native_size=native, dynamic_img_pad=True))
    sized = [name for name in stored if name.startswith(f"{toy}@")]
    found |= {name: outputs(any_size, pixels(name.partition("@")[2])) for name in sized}
    return {name: np.abs(made - stored[name]).max() / stored[name].std() for name, made in found.items()}


def main(action, path, *sizes):
    """Exit status 1 if one falls short."""
    if action == "write":
        found = {name: output for toy in TOYS for name, output in expected(toy, sizes or SIZES).items()}
        np.savez(path, **found)
        return 0
    stored, failed = dict(np.load(path)), 0
    for toy in TOYS:
        for name, difference in compare(toy, stored).items():
            failed += not difference <= TOLERANCE
            print(f"{keras.backend.backend()} {name}: {difference:.1e} of {TOLERANCE:.0e}", flush=True)
    print(f"{len(stored) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
