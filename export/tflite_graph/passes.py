"""Rewrites of a float file's graph:

    pixels_into_patches   the normalisation of pixels into the first convolution, which then takes uint8 as it is
    balance               factors and offsets per channel from normalisations, and from attention's values, into the
                          layers behind them (SmoothQuant, arXiv 2211.10438; offsets: RepQ-ViT, arXiv 2212.08254)
    spread                channels of equal range out of a layer, and a factor per channel behind it that undoes it

They change constants and insert operators; the file computes what it did, but for rounding.
"""

import numpy as np

from keras_vit.export.tflite_graph.channels import follow
from keras_vit.export.tflite_graph.sources import denses, has_bias, pads

ARITHMETIC = ("SUB", "ADD", "MUL", "DIV")
SMALLEST = 1 / 64  # the least range of a channel that `spread` assumes, relative to the largest channel
WORTH = 2.0  # how many times less noise `spread` must promise


def pixels_into_patches(graph):
    """Put (x - mean) / std of the image into the convolution behind it, if it does not pad."""
    tensor, factor, offset, passed = int(graph.main.inputs[0]), 1.0, 0.0, []
    while True:
        if len(graph.consumers(tensor)) != 1:
            return
        ((operator, place),) = graph.consumers(tensor)
        kind = graph.kind(operator)
        if kind == "CONV_2D" and not place:
            break
        values = graph.constant(int(operator.inputs[1 - place])) if kind in ARITHMETIC else None
        if values is None or (place and kind in ("SUB", "DIV")) or operator.builtinOptions.fusedActivationFunction:
            return
        if kind in ("MUL", "DIV"):
            values = values if kind == "MUL" else 1 / values
            factor, offset = factor * values, offset * values
        else:
            offset = offset + (values if kind == "ADD" else -values)
        passed.append(operator)
        tensor = int(operator.outputs[0])
    if not passed or pads(graph, operator) or not has_bias(operator):
        return
    kernel, bias = (graph.constant(int(operator.inputs[i])) for i in (1, 2))
    graph.set_constant(operator, 2, bias + (kernel * offset).sum((1, 2, 3)))
    graph.set_constant(operator, 1, kernel * factor)
    for one in passed:
        graph.remove(one)


def balance(graph, ranges, sources, exponent):
    """Divide channels by factors, and take their midpoints away, where only weighted layers see them, which undo it.

    A factor is (reach of the channel) ** exponent / (largest weight behind it) ** (1 - exponent): SmoothQuant, Eq. 4.
    Midpoints are taken where they arrive as they are: through softmax, whose rows sum to one, but not through padding.

    Args:
        graph: a `Graph`, which is changed.
        ranges: of `ranges.measure`, which are changed with it.
        sources: of `sources`, what gives the channels.
        exponent: 1 levels the channels, 0 the weights.
    """
    for source in list(sources):
        _balance_one(graph, ranges, source, exponent)


def _balance_one(graph, ranges, source, exponent):
    ends = follow(graph, source.output)
    layers = [end for end in ends if end.channels is not None and int(end.operator.inputs[0]) in ranges]
    free, movable = _free(graph, graph.shape(source.output)[-1], layers, [end for end in ends if end not in layers])
    if not free.any():
        return
    low, high, weight = (np.zeros(len(free), "float32") for _ in range(3))
    low[free], high[free] = np.inf, -np.inf
    for end in layers:
        seen, kernel = ranges[int(end.operator.inputs[0])], graph.constant(int(end.operator.inputs[1]))
        np.minimum.at(low, end.channels, seen.low)
        np.maximum.at(high, end.channels, seen.high)
        np.maximum.at(weight, end.channels, np.abs(kernel).reshape(-1, kernel.shape[-1]).max(0))
    offset = np.where(movable, (low + high) / 2, 0)
    reach = np.maximum(np.abs(low - offset), np.abs(high - offset))
    factor, useful = np.ones(len(free), "float32"), free & (reach > 0) & (weight > 0)
    factor[useful] = weight[useful] ** (1 - exponent) / reach[useful] ** exponent
    factor[useful] /= np.exp(np.log(factor[useful]).mean())  # the mean size stays
    source.change(graph, factor, offset)
    changed = {source.output: (factor, offset)} if source.output in ranges else {}
    for end in layers:
        changed[int(end.operator.inputs[0])] = factor[end.channels], offset[end.channels]
        _undo(graph, end.operator, factor[end.channels], offset[end.channels])
    for tensor, (mine, moved) in changed.items():
        ranges[tensor] = ranges[tensor].changed(mine, moved)


def _free(graph, count, layers, others):
    """Channels that only the layers see, and those of them that arrive as they are and can be moved: bool (C,)."""
    free, movable = np.zeros(count, bool), np.ones(count, bool)
    for end in layers:
        free[end.channels] = True
        padded = graph.kind(end.operator) == "CONV_2D" and pads(graph, end.operator)
        if padded or not end.sums_to_one or not has_bias(end.operator):
            movable[end.reached] = False
    for end in others:
        free[end.reached] = False
    return free, free & movable


def _undo(graph, layer, factor, offset):
    """Let a layer take (x - offset) * factor instead of x, and give the same."""
    kernel = graph.constant(int(layer.inputs[1]))
    if offset.any():
        bias = graph.constant(int(layer.inputs[2]))
        graph.set_constant(layer, 2, bias + (kernel * offset).reshape(len(kernel), -1).sum(1))
    graph.set_constant(layer, 1, kernel / factor)


def spread(graph, ranges):
    """Let layers give channels of equal range, and undo it behind them, where that lessens the noise of int8.

    A tensor has one step for all channels: the noise is that of the largest, in every channel. With a factor per
    channel each has its own, for a product that costs next to nothing beside the layer.

    Args:
        graph, ranges: as `balance`, the ranges with their margins.
    """
    for layer in denses(graph):
        if layer.output not in ranges or _is_output(graph, layer.output):
            continue
        seen = ranges[layer.output]
        reach = np.maximum(seen.reach(), SMALLEST * max(float(seen.reach().max()), 1e-30))
        if np.square(reach).mean() * WORTH < np.square(reach.max()):
            layer.change(graph, 1 / reach, np.zeros_like(reach))
            ranges[layer.output] = seen.changed(1 / reach, 0)
            ranges[graph.multiply_behind(layer.output, reach)] = seen  # the next layer may take it as it is


def _is_output(graph, tensor):
    return tensor in map(int, graph.main.outputs)
