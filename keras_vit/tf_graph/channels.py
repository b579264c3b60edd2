"""Where the channels of a tensor go: which inputs of dense layers and convolutions are which of its channels.

Between a normalisation and the layers behind it, and between a layer and a factor on its outputs, operators only move
numbers, or average them with the same weights for all channels. A factor per channel can then be taken out of the one
end and put into the other. The same for `.tflite` files is `keras_vit.export.tflite_graph.channels`.
"""

from typing import NamedTuple

import numpy as np

from keras_vit.tf_graph.products import Product

ZERO, FOREIGN = -1, -2  # in place of a channel: padding; numbers of another origin


class End(NamedTuple):
    """An operator that does more than move numbers.

    Attributes:
        operator: itself; None for an output of the graph.
        place: among its inputs.
        labels: int, of the shape of that input: the channel that each number is, ZERO or FOREIGN.
        channels: int (Cin,), for a dense layer or a convolution the channel that each of its inputs is; None for other
            operators, and if that differs from place to place.
        sums_to_one: whether a constant per channel arrives as that constant.
    """

    operator: object
    place: int
    labels: np.ndarray
    channels: np.ndarray | None
    sums_to_one: bool

    @property
    def reached(self):
        """The channels that it sees."""
        found = np.unique(self.labels)
        return found[found >= 0]


def follow(graph, tensor):
    """All ends that the channels of a tensor, its last axis, reach.

    Args:
        graph: a `Graph`.
        tensor: name of a tensor of known shape.

    Returns:
        A list of `End`; None if a shape on the way is not known.
    """
    shape = graph.shape(tensor)
    reached = {tensor: (np.broadcast_to(np.arange(shape[-1], dtype="int32"), shape), True)}
    passed, waiting = set(), [tensor]
    while waiting:
        for operator, _ in graph.consumers(waiting.pop()):
            moved = operator and _moved(graph, operator, [reached.get(one) for one in operator.inputs])
            for number, one in enumerate(moved or ()):
                output = f"{operator.name}:{number}"
                if graph.shape(output) != one[0].shape:
                    return None
                if output not in reached or not _alike(reached[output], one):  # a second input may have been reached
                    reached[output] = one
                    waiting.append(output)
            passed |= {operator} if moved else set()
    ends = []
    for one, (labels, whole) in reached.items():
        for operator, place in graph.consumers(one):
            if operator not in passed:
                ends.append(End(operator, place, labels, _per_channel(graph, operator, place, labels), whole))
    return ends


def _alike(one, other):
    return one[1] == other[1] and np.array_equal(one[0], other[0])


def _per_channel(graph, operator, place, labels):
    """The channel of each input channel of a dense layer or a convolution; None for all else."""
    product = Product.of(graph, operator) if operator and not place else None
    if product is None or product.inputs != labels.shape[-1]:
        return None
    labels = labels.reshape(-1, labels.shape[-1])
    known = labels.max(0)  # padding is less than any channel
    same = ((labels == known) | (labels == ZERO)).all()
    return known if same and known.min() >= 0 else None


def _moved(graph, operator, inputs):
    """[(labels, sums_to_one)] of the outputs of an operator that only moves numbers; else None."""
    rule, places = RULES.get(operator.kind), [place for place, found in enumerate(inputs) if found is not None]
    if rule is None or any(graph.shape(tensor) is None for tensor in (*operator.inputs, operator.output)):
        return None
    if operator.kind in ("ConcatV2", "Pack"):
        return rule(graph, operator, inputs)
    if len(places) > 1:
        return None
    return rule(graph, operator, places[0], *inputs[places[0]])


def _reshape(graph, operator, place, labels, whole):
    return None if place else [(labels.reshape(graph.shape(operator.output)), whole)]


def _transpose(graph, operator, place, labels, whole):
    order = graph.constant(operator.inputs[1])
    return None if order is None else [(labels.transpose(order), whole)]


def _split(graph, operator, place, labels, whole):
    axis = graph.constant(operator.inputs[0])
    return [(part, whole) for part in np.split(labels, operator.attribute("num_split"), int(axis))]


def _strided_slice(graph, operator, place, labels, whole):
    bounds = [graph.constant(tensor) for tensor in operator.inputs[1:]]
    if any(bound is None for bound in bounds):
        return None
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    masks, taken = [operator.attribute(mask) for mask in masks], []
    for axis, (begin, end, stride) in enumerate(zip(*bounds)):
        free, open_end, rest, new, single = (bool(mask >> axis & 1) for mask in masks)
        if rest or new:
            taken.append(Ellipsis if rest else np.newaxis)
        elif single:
            taken.append(int(begin))
        else:
            taken.append(slice(None if free else begin, None if open_end else end, stride))
    return [(labels[tuple(taken)], whole)]


def _slice(graph, operator, place, labels, whole):
    begin = graph.constant(operator.inputs[1])
    if begin is None:
        return None
    return [(labels[tuple(slice(b, b + s) for b, s in zip(begin, graph.shape(operator.output)))], whole)]


def _gather(graph, operator, place, labels, whole):
    indices, axis = (graph.constant(tensor) for tensor in operator.inputs[1:3])
    if place or indices is None or axis is None or operator.attribute("batch_dims"):
        return None
    return [(np.take(labels, indices, int(axis)), whole)]


def _unpack(graph, operator, place, labels, whole):
    return [(part, whole) for part in np.moveaxis(labels, operator.attribute("axis"), 0)]


def _roll(graph, operator, place, labels, whole):
    shift, axis = (graph.constant(tensor) for tensor in operator.inputs[1:])
    return None if shift is None or axis is None else [(np.roll(labels, np.ravel(shift), np.ravel(axis)), whole)]


def _pad(graph, operator, place, labels, whole):
    around = graph.constant(operator.inputs[1])
    return None if around is None else [(np.pad(labels, around, constant_values=ZERO), False)]


def _concatenate(graph, operator, inputs):
    axis = graph.constant(operator.inputs[-1])
    parts, whole = _parts(graph, operator.inputs[:-1], inputs[:-1])
    return None if axis is None else [(np.concatenate(parts, int(axis)), whole)]


def _pack(graph, operator, inputs):
    parts, whole = _parts(graph, operator.inputs, inputs)
    return [(np.stack(parts, operator.attribute("axis")), whole)]


def _parts(graph, tensors, inputs):
    foreign = [(np.full(graph.shape(tensor), FOREIGN), True) for tensor in tensors]
    found = [one or other for one, other in zip(inputs, foreign)]
    return [labels for labels, _ in found], all(whole for _, whole in found)


def _mean(graph, operator, place, labels, whole):
    axes = graph.constant(operator.inputs[1])
    return None if place or axes is None else _averaged(graph, operator, labels, whole, tuple(map(int, np.ravel(axes))))


def _pool(graph, operator, place, labels, whole):
    """Windows that overlap the border average what is inside."""
    if operator.attribute("data_format") != "NHWC":
        return None
    return _averaged(graph, operator, labels, whole, (1, 2))


def _averaged(graph, operator, labels, whole, axes):
    first, shape = labels.max(axes, keepdims=True), graph.shape(operator.output)
    if (labels != first).any():
        return None
    return [(np.broadcast_to(first if len(shape) == first.ndim else first.reshape(shape), shape), whole)]


def _mix(graph, operator, place, labels, whole):
    """Attention's product with the values, or pooling by a matrix: a row of the first factor mixes rows of the other.

    The rows of a constant matrix that averages sum to one.
    """
    if place == 0 or operator.attribute("adj_x"):
        return None
    rows = -1 if operator.attribute("adj_y") else -2
    first = labels.max(rows, keepdims=True)
    if (labels != first).any():
        return None
    first = np.swapaxes(first, -1, -2) if operator.attribute("adj_y") else first
    matrix = graph.constant(operator.inputs[0])
    averages = matrix is not None and np.allclose(matrix.sum(-1), 1, rtol=0, atol=1e-6)
    return [(np.broadcast_to(first, graph.shape(operator.output)), whole and averages)]


RULES = {
    **dict.fromkeys(("Reshape", "ExpandDims", "Squeeze"), _reshape),
    **{"Transpose": _transpose, "Split": _split, "Slice": _slice, "StridedSlice": _strided_slice},
    **{"GatherV2": _gather, "Unpack": _unpack, "Roll": _roll, "Pad": _pad, "ConcatV2": _concatenate, "Pack": _pack},
    **{"Mean": _mean, "AvgPool": _pool, "BatchMatMulV2": _mix},
}
