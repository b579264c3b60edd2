"""GPTQ (arXiv 2210.17323): weights are rounded one input channel after the other, and what the rounding of one loses is
made up for by those that are not rounded yet, as far as the inputs that the layer sees allow it.
"""

import numpy as np

from keras_vit.export.tflite_graph.ranges import observed
from keras_vit.export.tflite_graph.sources import pads

DAMPING = 0.01  # of the mean of the Hessian's diagonal, added to it
BLOCK = 128  # columns
LARGEST = 127  # of symmetric int8
MOST = 4096  # inputs of a layer: the Hessian has that many squared


def fitted(graph, images, folder):
    """Weights on the grid of int8 for dense layers, and for convolutions whose patches do not overlap.

    Args:
        graph: a `Graph`, to which they are added; its layers keep theirs.
        images, folder: as `ranges.observed`.

    Returns:
        {name of a layer's output: (its operator, number of the tensor of its new weights)}.
    """
    layers = [one for one in graph.of_kinds(("FULLY_CONNECTED", "CONV_2D")) if _is_dense(graph, one)]
    hessians = {}
    for values in observed(graph, sorted({int(one.inputs[0]) for one in layers}), images, folder):
        for layer in layers:
            key = (int(layer.inputs[0]), graph.shape(layer.inputs[1])[1:])
            if key not in values:  # once for all layers that see the same
                x = values[key] = _rows(values[key[0]], key[1])
                hessians[key] = hessians.get(key, 0.0) + (x.T @ x).astype("float64")
    found = {}
    for layer in layers:
        kernel, name = graph.constant(int(layer.inputs[1])), graph.name(int(layer.outputs[0]))
        rounded = round_weights(kernel.reshape(len(kernel), -1), hessians[int(layer.inputs[0]), kernel.shape[1:]])
        found[name] = layer, graph.add_constant(f"{name}/weights", rounded.reshape(kernel.shape))
    return found


def _is_dense(graph, operator):
    """Whether a layer is a matrix times rows of its input."""
    kernel = graph.shape(operator.inputs[1])
    if np.prod(kernel[1:]) > MOST or graph.constant(int(operator.inputs[1])) is None:
        return False
    if graph.kind(operator) == "FULLY_CONNECTED":
        return True
    options = operator.builtinOptions
    apart = (options.strideH, options.strideW) == tuple(kernel[1:3])
    return apart and not pads(graph, operator) and graph.shape(operator.inputs[0])[-1] == kernel[-1]


def _rows(x, window):
    """The rows that a matrix of `window` inputs is multiplied with.  (..., C) -> (n, Cin)"""
    if len(window) == 1:
        return x.reshape(-1, window[0])
    _, H, W, C = x.shape
    h, w = window[:2]
    x = x[:, : H // h * h, : W // w * w].reshape(-1, H // h, h, W // w, w, C)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, h * w * C)


def round_weights(weights, hessian):
    """The weights of a dense layer on the grid of symmetric int8 with a scale per output channel.

    Args:
        weights: float32 (Cout, Cin).
        hessian: float64 (Cin, Cin), the sum of x x^T over inputs x.

    Returns:
        float32 (Cout, Cin): integers of at most 127 times the scale, which is the largest weight of a row / 127.
    """
    scale = np.abs(weights).max(1, keepdims=True) / LARGEST
    scale = np.where(scale > 0, scale, 1)
    order = np.argsort(-np.diag(hessian), kind="stable")  # channels that matter most first
    ends = order[:, np.newaxis] == np.abs(weights).argmax(1)  # stay: the scale is that of the result, too
    upper = _factor(hessian[np.ix_(order, order)])
    left, rounded = (weights / scale).astype("float64")[:, order].T.copy(), np.empty(weights.T.shape)
    for start in range(0, len(order), BLOCK):
        stop = min(start + BLOCK, len(order))
        errors = np.zeros((stop - start, len(weights)))
        for i in range(start, stop):
            one = np.clip(np.rint(left[i]), -LARGEST, LARGEST)
            rounded[i] = np.where(ends[i], LARGEST * np.sign(left[i]), one)
            errors[i - start] = (left[i] - rounded[i]) / upper[i, i]
            left[i + 1 : stop] -= np.outer(upper[i, i + 1 : stop], errors[i - start])
        left[stop:] -= upper[start:stop, stop:].T @ errors
    result = np.empty(weights.shape)
    result[:, order] = rounded.T
    return (result * scale).astype("float32")


def _factor(hessian):
    """The upper Cholesky factor of the inverse of the damped Hessian."""
    damped = hessian + DAMPING * max(np.diag(hessian).mean(), 1e-30) * np.eye(len(hessian))
    return np.linalg.cholesky(np.linalg.inv(damped)).T
