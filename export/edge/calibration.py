"""Images to measure activations on: a seeded sample of at most 200, with the model's own preprocessing.

A run's come from its training split, never from the test images that the files are checked on.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.export.parity.images import noise_images, read_image
from keras_vit.system.files import scratch_folder

MOST = 200  # images
NOISE = 64
SEED = 1  # of the sample, and of noise: another one than that of the noise to check on
FEW = 32
ADVICE = "ranges of activations were measured on noise; --calibration with a few hundred real images is better"


@dataclass(frozen=True)
class Calibration:
    """Prepared images and their origin."""

    images: np.ndarray  # uint8 (N, H, W, 3)
    kind: str  # "training", "given" or "noise"
    skipped: int = 0  # that could not be decoded

    @property
    def real(self):
        """Whether they are images, not noise."""
        return self.kind != "noise"

    def report(self, classes=()):
        """Its entry in reports.

        Args:
            classes: the model's best class for each of the images; none where it was not asked.
        """
        entries = {"n_images": len(self.images), "pictures": self.kind, "skipped": self.skipped}
        notes = self._doubts(classes) if self.real else [ADVICE]
        return entries | ({"note": "; ".join(notes)} if notes else {})

    def _doubts(self, classes):
        """What makes it unlikely that other images stay within the ranges of these."""
        count, notes = len(self.images), []
        if count < FEW:
            notes.append(f"only {count} images to measure activations on; a few hundred with --calibration are better")
        pixels = self.images.reshape(count, -1, 3)
        plain = int((pixels == pixels[:, :1]).all((1, 2)).sum())
        if 2 * plain >= count:
            notes.append(f"{plain} of the {count} images to measure activations on are of one colour each")
        elif count > 1 and len(set(classes)) == 1:
            notes.append(
                "the model sees the same class in all images to measure activations on; take some of every class"
            )
        return notes


def from_images(names, read, spec, kind):
    """A seeded sample; images that cannot be decoded are replaced by others.

    Args:
        names: of the images, for messages.
        read: number of an image -> its encoded bytes.
        spec: the model's preprocessing.
        kind: "training" or "given".

    Raises:
        ValueError: if no image can be decoded.
    """
    images, skipped = [], []
    for index in np.random.default_rng(SEED).permutation(len(names)):
        if len(images) == MOST:
            break
        try:
            images.append(read_image(names[index], read(index), spec))
        except (ValueError, OSError) as error:
            skipped.append(str(error))
    if not images:
        raise ValueError(
            f"None of the {len(names)} {kind} images can be read; name others with --calibration. "
            f"{' '.join(skipped[:1])}"
        )
    return Calibration(np.stack(images), kind, len(skipped))


def from_files(paths, spec):
    """A seeded sample of image files."""
    paths = [Path(path) for path in paths]
    return from_images(paths, lambda index: paths[index].read_bytes(), spec, "given")


def from_noise(spec):
    """Noise, rough and smooth, for want of images."""
    with scratch_folder() as folder:
        files = noise_images(folder, NOISE, SEED)
        images = [read_image(path, path.read_bytes(), spec) for path, _ in files]
    return Calibration(np.stack(images), "noise")
