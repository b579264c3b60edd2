"""Normalisations whose variance fits into float16, where 65504 is the largest number.

A layer normalisation squares x - mean: trained transformers have a few activations of several hundred (DINOv2, arXiv
2309.16588), whose squares are infinite in float16. So the difference is divided by a number first, and epsilon by its
square; a power of two, so that nothing is rounded. The whole is then

    d = (x - mean) / s        y = d rsqrt(mean(d d) + epsilon / s s) gamma + beta

where the converter writes x m + (beta - mean m) with m = gamma rsqrt(...), the difference of large numbers.
"""

from typing import NamedTuple

import numpy as np

from keras_vit.export.tflite_graph.ranges import observed
from keras_vit.export.tflite_graph.sources import normalisations

LARGEST_SUM = 4096.0  # of squares, over the images: a sixteenth of what float16 holds, for images not seen here
SMALLEST_SCALE = 2.0**-6
MOVES = ("MEAN", "RESHAPE")


class Variance(NamedTuple):
    """The operators between a difference and 1 / std.

    Attributes:
        difference: SQUARED_DIFFERENCE of a tensor and its mean.
        mean: the first MEAN behind it.
        epsilon: the ADD of a constant.
        root: the RSQRT.
    """

    difference: object
    mean: object
    epsilon: object
    root: object


def scale(graph, images, folder):
    """Rewrite all variances for float16.

    Args:
        graph: a `Graph`, which is changed.
        images: uint8 (N, H, W, 3), to measure variances on.
        folder: to write files into.

    Returns:
        {name of the tensor of a variance: the number s}.
    """
    found, used = variances(graph), {}
    if not found:
        return used
    scales = _measured(graph, found, images, folder)
    whole = [_whole(graph, variance) for variance in found]
    for variance, by, norms in zip(found, scales, whole):
        used[graph.name(int(variance.mean.outputs[0]))] = by
        divided, root = _divide(graph, variance, by), int(variance.root.outputs[0])
        if len(norms) == len(graph.consumers(root)):
            for gamma, beta, end in norms:
                _rebuild(graph, variance, divided, gamma, beta, end)
        elif by != 1:
            graph.multiply_behind(root, np.full((1,) * len(graph.shape(root)), 1 / by))
    graph.remove_unused()
    return used


def variances(graph):
    """All `Variance`s, in the file's order."""
    found = []
    for operator in graph.of_kinds(("SQUARED_DIFFERENCE",)):
        passed = [operator]
        while (behind := _only_taker(graph, passed[-1])) is not None and graph.kind(behind) in (*MOVES, "ADD", "RSQRT"):
            passed.append(behind)
            if graph.kind(behind) == "RSQRT":
                break
        kinds = [graph.kind(one) for one in passed]
        adds = [one for one in passed if graph.kind(one) == "ADD" and _constant_place(graph, one) is not None]
        if kinds[1:2] == ["MEAN"] and kinds[-1] == "RSQRT" and kinds.count("ADD") == len(adds) == 1:
            found.append(Variance(operator, passed[1], adds[0], passed[-1]))
    return found


def _measured(graph, found, images, folder):
    """For each variance the power of two that brings its largest sum of squares to LARGEST_SUM or a quarter of it."""
    tensors = [int(one.mean.outputs[0]) for one in found]
    counts = [
        np.prod(graph.shape(one.difference.outputs[0])) / np.prod(graph.shape(t)) for one, t in zip(found, tensors)
    ]
    largest = np.zeros(len(found))
    for values in observed(graph, tensors, images, folder):
        largest = np.maximum(largest, [values[tensor].max() * count for tensor, count in zip(tensors, counts)])
    ratio = np.sqrt(np.maximum(largest, 1e-30) / LARGEST_SUM)
    return [float(one) for one in np.maximum(2.0 ** np.ceil(np.log2(ratio)), SMALLEST_SCALE)]


def _divide(graph, variance, by):
    """Let a variance be that of (x - mean) / by; returns the number of this difference."""
    difference, squared = variance.difference, int(variance.difference.outputs[0])
    shape = graph.shape(squared)
    divided = graph.add_operator(difference, "SUB", list(map(int, difference.inputs)), shape, "Sub")
    if by != 1:
        factor = graph.add_constant(f"{graph.name(squared)}/scale", np.array(1 / by, "float32"))
        divided = graph.add_operator(difference, "MUL", [divided, factor], shape, "Mul")
    graph.replace(squared, graph.add_operator(difference, "MUL", [divided, divided], shape, "Mul"))
    place = _constant_place(graph, variance.epsilon)
    graph.set_constant(variance.epsilon, place, graph.constant(int(variance.epsilon.inputs[place])) / by**2)
    return divided


def _whole(graph, variance):
    """(gamma, beta, last operator) of all layer normalisations, as Keras writes them, that have a variance.

    Several may normalise the same tensor: the converter computes their variance once.
    """
    found = []
    for norm in normalisations(graph):
        end, root = graph.producer(norm.output), int(variance.root.outputs[0])
        if root in map(int, norm.scale.inputs) and _is_of(graph, variance, norm, end):
            gamma, beta = (int(one.inputs[_constant_place(graph, one)]) for one in (norm.scale, norm.shift))
            found.append((gamma, beta, end))
    return found


def _is_of(graph, variance, norm, end):
    """Whether a normalisation is x m + (beta - mean m) with the x and the mean of the variance."""
    x, mean = map(int, variance.difference.inputs)
    factor, shift = int(norm.scale.outputs[0]), int(norm.shift.outputs[0])
    product = next((graph.producer(int(one)) for one in end.inputs if int(one) != shift), None)
    moved = next((one for one in map(graph.producer, map(int, norm.shift.inputs)) if one is not None), None)
    if product is None or moved is None or {*map(int, product.inputs)} != {x, factor} or graph.kind(moved) != "MUL":
        return False
    (other,) = [int(one) for one in moved.inputs if int(one) != factor] or [-1]
    negated = graph.producer(other)
    return negated is not None and graph.kind(negated) == "NEG" and int(negated.inputs[0]) == mean


def _rebuild(graph, variance, divided, gamma, beta, end):
    """Let the last operator of a layer normalisation give d rsqrt(...) gamma + beta."""
    shape, root = graph.shape(end.outputs[0]), int(variance.root.outputs[0])
    normalised = graph.add_operator(end, "MUL", [divided, root], shape, "Mul")
    graph.give(end, 0, graph.add_operator(end, "MUL", [normalised, gamma], shape, "Mul"))
    graph.give(end, 1, beta)


def _only_taker(graph, operator):
    takers = graph.consumers(int(operator.outputs[0]))
    return takers[0][0] if len(takers) == 1 else None


def _constant_place(graph, operator):
    return next((place for place, one in enumerate(operator.inputs) if graph.constant(int(one)) is not None), None)
