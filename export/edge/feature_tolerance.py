"""How far the features of a .tflite file may be from the Keras model's: what `tolerance` is for classifiers.

What is compared are the features themselves, image by image: vectors as they are, a map as one long vector.

    float32           largest difference at most 1e-3 of the standard deviation of the Keras model's features
    float16           a cosine of at least 0.9999 on average over the images, and of 0.999 for each
    int8 and others   a cosine of at least 0.998 on average, and of 0.99 for each: an error of 6 % of a vector's
                      length, and of 14 %. Vectors of different images are farther apart: nearest neighbours stay

Each output of a file is held to them.
"""

import numpy as np

from keras_vit.export.parity.outputs import cosines

FLOAT32 = 1e-3  # of the standard deviation
FLOAT16 = {"mean_cosine": 0.9999, "cosine": 0.999}
OTHERS = {"mean_cosine": 0.998, "cosine": 0.99}


def limits(quantization, expected, max_loss=None):
    """{figure: its limit}, for `figures`: the largest difference, the smallest of the cosines."""
    if quantization == "none":
        return {"relative_difference": FLOAT32}
    return FLOAT16 if quantization == "float16" else OTHERS


def figures(expected, outputs, given=None):
    """Cosines and differences; over all outputs the worst, and those of each.

    Args:
        expected: `ExpectedFeatures`.
        outputs: {name: float32 (N, ...)}, of the file.
        given: not used; features are never rounded to uint8.
    """
    each = {name: _figures(outputs[name], reference) for name, reference in expected.features.items()}
    return {
        "n_images": len(expected.images),
        "dataset": expected.kind,
        "mean_cosine": min(one["mean_cosine"] for one in each.values()),
        "cosine": min(one["cosine"] for one in each.values()),
        "relative_difference": max(one["relative_difference"] for one in each.values()),
        "features": each,
    }


def _figures(values, reference):
    """Those of one output."""
    found = cosines(values, reference)
    return {
        "shape": [1, *reference.shape[1:]],
        "mean_cosine": float(found.mean()),
        "cosine": float(found.min()),
        "relative_difference": float(np.abs(values - reference).max() / max(reference.std(), 1e-30)),
    }


def describe(found, allowed):
    """Figures in one line, with their limits."""

    def limit(name, text):
        return f" ({text.format(allowed[name])})" if name in allowed else ""

    worst = f" (the worst of {', '.join(found['features'])})" if len(found["features"]) > 1 else ""
    return ", ".join(
        [
            f"{found['n_images']} {found['dataset']} images",
            f"cosine of features{worst} {found['mean_cosine']:.5f} on average{limit('mean_cosine', 'at least {}')}",
            f"smallest {found['cosine']:.5f}{limit('cosine', 'at least {}')}",
            f"largest difference {found['relative_difference']:.1e} of the standard deviation"
            + limit("relative_difference", "at most {:.0e}"),
        ]
    )


def signal(expected, outputs):
    """What layers are ranked by: all features of an image, each output by its standard deviation.  (N, D)."""
    parts = [np.asarray(values).reshape(len(values), -1) / max(values.std(), 1e-30) for values in outputs]
    return np.concatenate(parts, -1)
