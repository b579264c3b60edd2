"""Where the channels of a tensor go: which inputs of dense layers and convolutions are which of its channels.

Between a normalisation and the layers behind it, and between the values of attention and the projection, operators
only move numbers, or average them with the same weights for all channels. A factor per channel can then be taken out of
the one end and put into the other.
"""

from typing import NamedTuple

import numpy as np

ZERO, FOREIGN = -1, -2  # in place of a channel: padding; numbers of another origin


class End(NamedTuple):
    """An operator that does more than move numbers.

    Attributes:
        operator: itself.
        place: among its inputs.
        reached: the channels that it sees.
        channels: int (Cin,), for a dense layer or a convolution the channel that each of its inputs is; None for other
            operators, and if that differs from place to place.
        sums_to_one: whether a constant per channel arrives as that constant.
    """

    operator: object
    place: int
    reached: np.ndarray
    channels: np.ndarray | None
    sums_to_one: bool


def follow(graph, tensor):
    """All ends that the channels of a tensor, its last axis, reach.

    Args:
        graph: a `Graph`.
        tensor: number of a tensor.

    Returns:
        A list of `End`.
    """
    shape = graph.shape(tensor)
    reached = {tensor: (np.broadcast_to(np.arange(shape[-1]), shape), True)}
    ends = []
    for operator in graph.operators:
        places = [place for place, one in enumerate(operator.inputs) if int(one) in reached]
        if not places:
            continue
        moved = _moved(graph, operator, [reached.get(int(one)) for one in operator.inputs], places)
        if moved is not None:
            reached.update({int(output): one for output, one in zip(operator.outputs, moved)})
            continue
        for place in places:
            labels, whole = reached[int(operator.inputs[place])]
            ends.append(End(operator, place, _seen(labels), _per_channel(graph, operator, place, labels), whole))
    for output in map(int, graph.main.outputs):
        if output in reached:
            ends.append(End(None, 0, _seen(reached[output][0]), None, False))
    return ends


def _seen(labels):
    found = np.unique(labels)
    return found[found >= 0]


def _per_channel(graph, operator, place, labels):
    """The channel of each input channel of a dense layer or a convolution; None for all else."""
    kind = graph.kind(operator)
    if place or kind not in ("FULLY_CONNECTED", "CONV_2D") or graph.constant(int(operator.inputs[1])) is None:
        return None
    labels = labels.reshape(-1, graph.shape(operator.inputs[1])[-1])
    known = labels.max(0)  # padding is less than any channel
    same = ((labels == known) | (labels == ZERO)).all()
    return known if same and known.min() >= 0 else None


def _moved(graph, operator, inputs, places):
    """[(labels, sums_to_one)] of the outputs of an operator that only moves numbers; else None."""
    kind, rule = graph.kind(operator), RULES.get(graph.kind(operator))
    if rule is None:
        return None
    if kind == "CONCATENATION":
        return rule(graph, operator, inputs)
    if len(places) > 1:
        return None
    labels, whole = inputs[places[0]]
    return rule(graph, operator, places[0], labels, whole)


def _values(graph, operator, place):
    return graph.constant(int(operator.inputs[place]))


def _reshape(graph, operator, place, labels, whole):
    return [(labels.reshape(graph.shape(operator.outputs[0])), whole)]


def _transpose(graph, operator, place, labels, whole):
    return [(labels.transpose(_values(graph, operator, 1)), whole)]


def _split(graph, operator, place, labels, whole):
    return [(part, whole) for part in np.split(labels, len(operator.outputs), int(_values(graph, operator, 0)))]


def _slice(graph, operator, place, labels, whole):
    begin, size = _values(graph, operator, 1), graph.shape(operator.outputs[0])
    return [(labels[tuple(slice(b, b + s) for b, s in zip(begin, size))], whole)]


def _strided_slice(graph, operator, place, labels, whole):
    begin, end, stride = (_values(graph, operator, i) for i in (1, 2, 3))
    options, taken = operator.builtinOptions, []
    if options.ellipsisMask or options.newAxisMask:
        return None
    for axis, (b, e, s) in enumerate(zip(begin, end, stride)):
        bit = 1 << axis
        if options.shrinkAxisMask & bit:
            taken.append(slice(b, b + 1 or None))
        else:
            taken.append(slice(None if options.beginMask & bit else b, None if options.endMask & bit else e, s))
    return [(labels[tuple(taken)].reshape(graph.shape(operator.outputs[0])), whole)]


def _gather(graph, operator, place, labels, whole):
    indices, axis = _values(graph, operator, 1), operator.builtinOptions.axis
    if place or indices is None or operator.builtinOptions.batchDims:
        return None
    return [(np.take(labels, indices, axis), whole)]


def _unpack(graph, operator, place, labels, whole):
    axis = operator.builtinOptions.axis
    return [(part, whole) for part in np.moveaxis(labels, axis, 0)]


def _pad(graph, operator, place, labels, whole):
    if len(operator.inputs) > 2:  # with a value of its own
        return None
    return [(np.pad(labels, _values(graph, operator, 1), constant_values=ZERO), False)]


def _concatenate(graph, operator, inputs):
    parts, whole = [], True
    for tensor, found in zip(operator.inputs, inputs):
        labels, sums = found or (np.full(graph.shape(tensor), FOREIGN), True)
        parts.append(labels)
        whole &= sums
    return [(np.concatenate(parts, operator.builtinOptions.axis), whole)]


def _multiply(graph, operator, place, labels, whole):
    other = _values(graph, operator, 1 - place)
    if other is None or operator.builtinOptions.fusedActivationFunction:
        return None
    return [(np.broadcast_to(labels, graph.shape(operator.outputs[0])), False)]


def _average(graph, operator, place, labels, whole):
    axes = tuple(int(axis) for axis in np.ravel(_values(graph, operator, 1)))
    first = labels.max(axes, keepdims=True)
    if (labels != first).any():
        return None
    return [(first.reshape(graph.shape(operator.outputs[0])), whole)]


def _product(graph, operator, place, labels, whole):
    """Attention's product with the values: every row of its first factor mixes rows of the values."""
    if place == 0:
        return None
    rows = -1 if operator.builtinOptions.adjY else -2
    first = labels.max(rows, keepdims=True)
    if (labels != first).any():
        return None
    first = np.swapaxes(first, -1, -2) if operator.builtinOptions.adjY else first
    return [
        (np.broadcast_to(first, graph.shape(operator.outputs[0])), whole and _is_softmax(graph, operator.inputs[0]))
    ]


def _is_softmax(graph, tensor):
    """Whether the rows of a tensor, its last axis, sum to one."""
    operator = graph.producer(int(tensor))
    while operator is not None and graph.kind(operator) == "RESHAPE":
        if graph.shape(operator.inputs[0])[-1] != graph.shape(operator.outputs[0])[-1]:
            return False
        operator = graph.producer(int(operator.inputs[0]))
    return operator is not None and graph.kind(operator) == "SOFTMAX"


RULES = {
    **dict.fromkeys(("RESHAPE", "EXPAND_DIMS", "SQUEEZE"), _reshape),
    **{"TRANSPOSE": _transpose, "SPLIT": _split, "SLICE": _slice, "STRIDED_SLICE": _strided_slice},
    **{"GATHER": _gather, "UNPACK": _unpack, "PAD": _pad, "CONCATENATION": _concatenate},
    **{"MUL": _multiply, "MEAN": _average, "BATCH_MATMUL": _product},
}
