"""Trained weights through the public API against ONNX Runtime:  python -m tests.real.compare build/real

Loads the backbone that tests/real/package.py took out of a package, from the names of timm, of the official code and of
transformers, and compares class token and patch tokens of photographs: at the size of the file, and at others, where
the positions are resampled as each library does it. Exit status 1 if any falls short.
"""

import argparse
import pathlib
import sys

import keras
import numpy as np

import keras_vit

TOLERANCE = 5e-5  # of the tokens' standard deviation, float32
LAYOUTS = ("timm", "official", "transformers")


def tokens(path, images):
    """(B, 1 + N, D): the class token and the patch tokens of the public models with the weights of a file."""
    found = []
    for pooling in ("token", None):
        model = keras_vit.models.DINOv2S(include_top=False, weights=path, input_shape=images.shape[1:], pooling=pooling)
        features = keras.ops.convert_to_numpy(model(images, training=False))
        found.append(features.reshape(len(images), -1, features.shape[-1]))
        keras.backend.clear_session()
    return np.concatenate(found, axis=1)


def compare(folder):
    """Yields (layout, size, largest difference in standard deviations of the tokens, how many photographs)."""
    reference = np.load(folder / "reference.npz")
    for size in (name.removesuffix("/images") for name in reference if name.endswith("/images")):
        images = reference[f"{size}/images"]
        for layout in LAYOUTS:
            theirs = reference[f"{size}/{layout}"]
            ours = tokens(folder / f"{layout}.safetensors", images)
            yield layout, size, float(np.abs(ours - theirs).max() / theirs.std()), len(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    failed = 0
    for layout, size, difference, count in compare(parser.parse_args().folder):
        passed = difference <= TOLERANCE
        failed += not passed
        print(f"{'ok  ' if passed else 'FAIL'} {layout:12} {size:7} {count} photographs: {difference:.1e}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
