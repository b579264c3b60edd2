"""Specs, images and encoded files that the tests of preprocessing share."""

import io

from PIL import Image

from keras_vit.preprocessing import Spec, resize

HALF = (0.5, 0.5, 0.5)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def spec(size, **changes):
    """A `Spec` with ImageNet's mean and standard deviation, for a side or (H, W)."""
    size = (size, size) if isinstance(size, int) else size
    return Spec(size, MEAN, STD, **changes)


def photographs():
    """Two photographs, uint8 (427, 640, 3)."""
    from sklearn.datasets import load_sample_images

    return load_sample_images().images


def encoded(image, kind, **options):
    """The bytes of a file of the given kind, from a PIL image or an array."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def flower(size=(40, 61)):
    """A photograph, uint8 (*size, 3)."""
    return resize(photographs()[1], spec(size)).numpy().astype("uint8")
