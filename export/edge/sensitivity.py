"""Keeps the layers float whose quantization costs most: one, two, four, ... until a file is within its limits."""

import numpy as np


def search(layers, attempt, holds, error_of):
    """Find how few layers must stay float.

    Args:
        layers: names.
        attempt: names of layers to keep float -> outputs of the file.
        holds: outputs -> whether they are within the limits.
        error_of: name of a layer -> error of the file with only this layer quantized.

    Returns:
        (names of the layers kept float, outputs of the last attempt). If all layers are kept, the outputs may still be
        outside the limits.
    """
    kept, outputs = (), attempt(())
    if holds(outputs) or not layers:
        return kept, outputs
    ranked = sorted(layers, key=error_of, reverse=True)
    while len(kept) < len(ranked) and not holds(outputs):
        kept = tuple(ranked[: max(1, 2 * len(kept))])
        outputs = attempt(kept)
    return kept, outputs


def error(logits, reference):
    """Mean squared error of logits, both (N, K), relative to the reference's variance over the classes."""
    return float(np.square(logits - reference).mean() / max(np.square(reference).mean(), 1e-30))
