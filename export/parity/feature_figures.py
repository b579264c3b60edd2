"""How far the features that an artifact gives are from the Keras model's, and how far they may be.

What is compared are the features themselves, image by image: vectors as they are, a map as one long vector. Each output
of an artifact is held to the limits.

    SavedModel               largest difference at most 1e-4 of the standard deviation of the Keras model's features
    ONNX, OpenVINO, float32  the same, at most 1e-3: other kernels add up in another order
    .tflite                  `edge.feature_tolerance`
"""

import numpy as np

from keras_vit.export.parity.outputs import cosines

SAVED_MODEL, FLOAT32 = 1e-4, 1e-3  # of the standard deviation
DIFFERENCE = "relative_difference"


def figures(expected, outputs):
    """Cosines and differences; over all outputs the worst, and those of each.

    Args:
        expected: `features.ExpectedFeatures`.
        outputs: {name: float32 (N, ...)}, of the artifact.
    """
    each = {name: _figures(outputs[name], reference) for name, reference in expected.features.items()}
    return {
        "n_images": len(expected.images),
        "dataset": expected.kind,
        "mean_cosine": min(one["mean_cosine"] for one in each.values()),
        "cosine": min(one["cosine"] for one in each.values()),
        DIFFERENCE: float(np.max([one[DIFFERENCE] for one in each.values()])),  # NaN if one of them is
        "features": each,
    }


def difference(outputs, references):
    """The largest difference of several outputs, {name: (N, ...)}; NaN if that of one is."""
    return float(np.max([_figures(outputs[name], reference)[DIFFERENCE] for name, reference in references.items()]))


def require_within(where, report):
    """Raise a ValueError, with the figures, if a difference of a report is above the limit that it states."""
    if not worst(report) <= report["limits"][DIFFERENCE]:
        raise ValueError(
            f"{where} gives other features than the Keras model, so it is not kept. "
            f"{describe(report, report['limits'])}."
        )


def check_shapes(where, expected, outputs):
    """Raise a ValueError unless an artifact gives features of the same names and shapes.

    Args:
        where: what errors call the artifact.
        expected: `features.ExpectedFeatures`.
        outputs: {name: (N, ...)}, of the artifact; others than the features are ignored.
    """
    wanted = {name: reference.shape[1:] for name, reference in expected.features.items()}
    given = {name: outputs[name].shape[1:] for name in wanted if name in outputs}
    if given != wanted:
        raise ValueError(
            f"{where} was made from another model: expected the features {_shapes(wanted)}. It gives "
            f"{_shapes(given) or ', '.join(sorted(outputs))}."
        )


def worst(report):
    """The largest of a report's differences; NaN if one of them is."""
    return float(np.max([value for name, value in report.items() if name.startswith(DIFFERENCE)]))


def describe(found, allowed):
    """Figures in one line, with their limits."""

    def limit(name, text):
        return f" ({text.format(allowed[name])})" if name in allowed else ""

    of_several = f" (the worst of {', '.join(found['features'])})" if len(found["features"]) > 1 else ""
    return ", ".join(
        [
            f"{found['n_images']} {found['dataset']} images",
            f"cosine of features{of_several} {found['mean_cosine']:.5f} on average"
            + limit("mean_cosine", "at least {}"),
            f"smallest {found['cosine']:.5f}{limit('cosine', 'at least {}')}",
            f"largest difference {worst(found):.1e} of the standard deviation" + limit(DIFFERENCE, "at most {:.0e}"),
        ]
    )


def _figures(values, reference):
    """Those of one output."""
    found = cosines(values, reference)
    return {
        "shape": [1, *reference.shape[1:]],
        "mean_cosine": float(found.mean()),
        "cosine": float(found.min()),
        DIFFERENCE: float(np.abs(values - reference).max() / max(reference.std(), 1e-30)),
    }


def _shapes(shapes):
    return ", ".join(f"{name} {tuple(map(int, shape))}" for name, shape in shapes.items())
