"""Which layers lose most when quantised: they stay float, one, two, four, ... of them, until a file is good enough."""

import numpy as np


def search(layers, attempt, holds, error_of):
    """Keep as few layers float as it takes.

    Args:
        layers: names.
        attempt: names of layers to keep -> the answers of the file made so.
        holds: answers -> whether they are good enough.
        error_of: name of a layer -> the error of the file with this layer quantised alone.
    Output: (names of the layers kept, answers of the last attempt). The answers do not hold if nothing helped.
    """
    kept, answers = (), attempt(())
    if holds(answers) or not layers:
        return kept, answers
    ranked = sorted(layers, key=error_of, reverse=True)
    while len(kept) < len(ranked) and not holds(answers):
        kept = tuple(ranked[: max(1, 2 * len(kept))])
        answers = attempt(kept)
    return kept, answers


def error(answered, reference):
    """Mean squared error of logits, both (N, K), as a share of the reference's variance over the classes."""
    return float(np.square(answered - reference).mean() / max(np.square(reference).mean(), 1e-30))
