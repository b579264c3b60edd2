"""From an image file to what a model takes: one `Spec` for training, evaluation, serving and edge.

    decode -> resize (antialiased, as PIL) -> centre crop -> x / 255 -> (x - mean) / std

Decoding and resizing are TensorFlow operations, so that the same function runs in a data pipeline and inside a
SavedModel; they agree to within rounding with the PIL chain that the published accuracies were measured with
(torchvision's and timm's evaluation transforms).
"""

from keras_vit.preprocessing.decoding import (
    BROKEN_IMAGE,
    IMAGE_SUFFIXES,
    PILLOW_SUFFIXES,
    decode_and_resize,
    decode_image,
    read_image,
)
from keras_vit.preprocessing.normalization import normalize, normalizes_inside, refuse_channels_first
from keras_vit.preprocessing.resizing import resize
from keras_vit.preprocessing.spec import CROP_MODES, INTERPOLATIONS, Spec

__all__ = [
    "BROKEN_IMAGE",
    "CROP_MODES",
    "IMAGE_SUFFIXES",
    "INTERPOLATIONS",
    "PILLOW_SUFFIXES",
    "Spec",
    "decode_and_resize",
    "decode_image",
    "normalize",
    "normalizes_inside",
    "read_image",
    "refuse_channels_first",
    "resize",
]
