"""How far the features of a .tflite file may be from the Keras model's: what `tolerance` is for classifiers.

    float32           largest difference at most 1e-3 of the standard deviation of the Keras model's features
    float16           a cosine of at least 0.9999 on average over the images, and of 0.999 for each
    int8 and others   a cosine of at least 0.998 on average, and of 0.99 for each: an error of 6 % of a vector's
                      length, and of 14 %. Vectors of different images are farther apart: nearest neighbours stay

Each output of a file is held to them (`parity.feature_figures`).
"""

import numpy as np

from keras_vit.export.parity import feature_figures
from keras_vit.export.parity.feature_figures import DIFFERENCE, FLOAT32, describe  # noqa: F401, as `tolerance` has it

FLOAT16 = {"mean_cosine": 0.9999, "cosine": 0.999}
OTHERS = {"mean_cosine": 0.998, "cosine": 0.99}


def limits(quantization, expected, max_loss=None):
    """{figure: its limit}, for `figures`: the largest difference, the smallest of the cosines."""
    if quantization == "none":
        return {DIFFERENCE: FLOAT32}
    return FLOAT16 if quantization == "float16" else OTHERS


def figures(expected, outputs, given=None):
    """Cosines and differences, as `feature_figures.figures`; `given` is not used: features are never rounded."""
    return feature_figures.figures(expected, outputs)


def signal(expected, outputs):
    """What layers are ranked by: all features of an image, each output by its standard deviation.  (N, D)."""
    parts = [np.asarray(values).reshape(len(values), -1) / max(values.std(), 1e-30) for values in outputs]
    return np.concatenate(parts, -1)
