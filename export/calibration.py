"""Pictures to measure the ranges of activations on: at most 200, seeded, through the model's own preprocessing.

A run's come from its training part, never from the held-out pictures that the files are judged on.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.export import parity

MOST = 200  # pictures
NOISE = 64
SEED = 1  # of the sample, and of noise, which is other noise than files are judged on
ADVICE = "ranges of activations were measured on noise; --calibration with a few hundred real pictures is better"


@dataclass(frozen=True)
class Calibration:
    """Pictures, prepared."""

    images: np.ndarray  # uint8 (N, H, W, 3)
    kind: str  # "training", "given" or "noise"
    skipped: int = 0  # that could not be decoded

    def report(self):
        """What reports say of it."""
        entries = {"n_images": len(self.images), "pictures": self.kind, "skipped": self.skipped}
        return entries | ({"note": ADVICE} if self.kind == "noise" else {})


def from_pictures(names, read, spec, kind):
    """A seeded sample; what cannot be decoded is skipped, and another taken.

    Args:
        names: of the pictures, for messages.
        read: number of a picture -> its encoded bytes.
        spec: the model's preprocessing.
        kind: "training" or "given".
    Raises: ValueError if there is no picture that can be decoded.
    """
    images, skipped = [], []
    for index in np.random.default_rng(SEED).permutation(len(names)):
        if len(images) == MOST:
            break
        try:
            images.append(parity.read_picture(names[index], read(index), spec))
        except (ValueError, OSError) as error:
            skipped.append(str(error))
    if not images:
        raise ValueError(
            f"None of the {len(names)} {kind} pictures can be read; name others with --calibration. "
            f"{' '.join(skipped[:1])}"
        )
    return Calibration(np.stack(images), kind, len(skipped))


def from_files(paths, spec):
    """A seeded sample of picture files."""
    paths = [Path(path) for path in paths]
    return from_pictures(paths, lambda index: paths[index].read_bytes(), spec, "given")


def from_noise(spec):
    """Noise, rough and smooth, where there are no pictures."""
    with tempfile.TemporaryDirectory() as folder:
        files = parity.noise_pictures(folder, NOISE, SEED)
        images = [parity.read_picture(path, path.read_bytes(), spec) for path, _ in files]
    return Calibration(np.stack(images), "noise")
