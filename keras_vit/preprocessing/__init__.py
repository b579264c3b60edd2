"""From an image file to what a model takes: one `Spec` for training, evaluation, serving and edge.

    decode -> resize (antialiased, as PIL) -> centre crop -> x / 255 -> (x - mean) / std

Decoding and resizing are TensorFlow operations, so that the same function runs in a data pipeline and inside a
SavedModel; they agree to within rounding with the PIL chain that the published accuracies were measured with
(torchvision's and timm's evaluation transforms).
"""

from keras_vit.preprocessing.decoding import decode_and_resize, decode_image
from keras_vit.preprocessing.input_values import as_taken, find_input_values
from keras_vit.preprocessing.normalization import normalize, refuse_channels_first
from keras_vit.preprocessing.reading import IMAGE_SUFFIXES, is_image_name, read_image
from keras_vit.preprocessing.resizing import resize
from keras_vit.preprocessing.spec import CROP_MODES, INPUT_VALUES, INTERPOLATIONS, Spec

__all__ = [
    "CROP_MODES",
    "IMAGE_SUFFIXES",
    "INPUT_VALUES",
    "INTERPOLATIONS",
    "Spec",
    "as_taken",
    "decode_and_resize",
    "decode_image",
    "find_input_values",
    "is_image_name",
    "normalize",
    "read_image",
    "refuse_channels_first",
    "resize",
]
