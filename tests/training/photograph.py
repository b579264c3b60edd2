"""A photograph that scikit-learn includes, and images made from it."""

import functools
import io

import numpy as np
from PIL import Image


@functools.cache
def photograph():
    """A temple in China, uint8 (427, 640, 3)."""
    from sklearn import datasets

    return datasets.load_sample_image("china.jpg")


def small(side=64):
    """The photograph at (side, side + 16, 3)."""
    return np.asarray(Image.fromarray(photograph()).resize((side + 16, side), Image.BICUBIC))


def encode(pixels, kind="JPEG", **options):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()
