"""Temperature scaling: one number by which logits are divided, so that probabilities say how often they are right.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, arXiv:1706.04599, Sec. 4.2. The best class of an
image stays the best.
"""

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0  # temperatures
STEPS = 60  # of Newton's method or bisection, which then has halved the range to less than float64 tells apart


def fit_temperature(logits, labels):
    """The temperature T for which the probabilities of logits / T fit the labels best, by cross entropy.

    The loss is convex in 1 / T. Where every image is classified rightly it would fall without end as T goes to 0; so
    one image of N + 2 is taken to be wrong, as in Platt's targets (Platt, "Probabilistic Outputs for Support Vector
    Machines", 1999, Sec. 2.2).

    Args:
        logits: (N, K).
        labels: numbers of the classes (N,), or of several labels per image 0 or 1 (N, K): the probabilities are then
            those of a sigmoid.

    Returns:
        T, from LOWEST to HIGHEST.
    """
    logits, labels = np.asarray(logits, "float64"), np.asarray(labels)
    several = labels.ndim == 2
    right = (len(logits) + 1) / (len(logits) + 2)
    if several:
        targets = np.where(labels > 0, right, 1 - right)
    else:
        targets = np.full(logits.shape, (1 - right) / max(1, logits.shape[1] - 1))
        targets[np.arange(len(labels)), labels] = right
    low, high = 1 / HIGHEST, 1 / LOWEST
    inverse = 1.0
    for _ in range(STEPS):
        slope, curvature = (_of_sigmoid if several else _of_softmax)(logits, targets, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else low
        inverse = step if low < step < high else (low + high) / 2
    return float(1 / inverse)


def _of_softmax(logits, targets, inverse):
    """First and second derivative of the cross entropy with respect to 1 / T."""
    p = np.exp(inverse * (logits - logits.max(1, keepdims=True)))
    p /= p.sum(1, keepdims=True)
    mean = (p * logits).sum(1)
    slope = mean - (targets * logits).sum(1)
    return slope.mean(), ((p * logits**2).sum(1) - mean**2).mean()


def _of_sigmoid(logits, targets, inverse):
    p = 0.5 * (1 + np.tanh(0.5 * inverse * logits))
    return ((p - targets) * logits).mean(), (p * (1 - p) * logits**2).mean()
