"""What gives numbers that can be had in other units: layer normalisations and layers with a bias.

Each has `output`, the number of its tensor, and `change(graph, factor, offset)`, after which it gives
(y - offset) * factor, per channel.
"""

from typing import NamedTuple

DENSE = ("FULLY_CONNECTED", "CONV_2D")


class Normalisation(NamedTuple):
    """A layer normalisation as Keras writes it: x m + (beta - mean m) with m = gamma / std."""

    scale: object  # the operator gamma / std
    shift: object  # the operator beta - mean m
    output: int

    def change(self, graph, factor, offset):
        """Let it give (y - offset) * factor."""
        _set(graph, self.scale, lambda gamma: gamma * factor)
        _set(graph, self.shift, lambda beta: (beta - offset) * factor)


class Dense(NamedTuple):
    """A dense layer or a convolution that has a bias, and no activation of its own."""

    operator: object
    output: int

    def change(self, graph, factor, offset):
        """Let it give (y - offset) * factor."""
        kernel, bias = (graph.constant(int(self.operator.inputs[i])) for i in (1, 2))
        graph.set_constant(self.operator, 1, kernel * factor.reshape(-1, *[1] * (kernel.ndim - 1)))
        graph.set_constant(self.operator, 2, (bias - offset) * factor)


def normalisations(graph):
    """All layer normalisations."""
    for operator in graph.of_kinds(("ADD",)):
        parts = [graph.producer(int(one)) for one in operator.inputs]
        for product, shift in (parts, parts[::-1]):
            if product is None or shift is None or (graph.kind(product), graph.kind(shift)) != ("MUL", "ADD"):
                continue
            for scale in (graph.producer(int(one)) for one in product.inputs):
                if scale is not None and _divides(graph, scale) and _takes(graph, shift, int(scale.outputs[0])):
                    yield Normalisation(scale, shift, int(operator.outputs[0]))


def denses(graph):
    """All dense layers and convolutions that can give their numbers in other units."""
    for operator in graph.of_kinds(DENSE):
        weights = [graph.constant(int(one)) for one in operator.inputs[1:]]
        known = len(weights) > 1 and all(one is not None for one in weights)
        if known and operator.builtinOptions.fusedActivationFunction == 0:
            yield Dense(operator, int(operator.outputs[0]))


def has_bias(operator):
    """Whether a dense layer or a convolution has a bias."""
    return len(operator.inputs) > 2 and int(operator.inputs[2]) >= 0


def pads(graph, convolution):
    """Whether a convolution sees anything beside its input."""
    options = convolution.builtinOptions
    sides, kernel = graph.shape(convolution.inputs[0])[1:3], graph.shape(convolution.inputs[1])[1:3]
    strides, given = (options.strideH, options.strideW), graph.shape(convolution.outputs[0])[1:3]
    return any((n - 1) * s + k > side for n, s, k, side in zip(given, strides, kernel, sides))


def _set(graph, operator, change):
    place = next(i for i in (0, 1) if graph.constant(int(operator.inputs[i])) is not None)
    graph.set_constant(operator, place, change(graph.constant(int(operator.inputs[place]))))


def _divides(graph, operator):
    """Whether an operator is gamma / std."""
    made = _computed(graph, operator)
    return graph.kind(operator) == "MUL" and len(made) == 1 and graph.kind(made[0]) == "RSQRT"


def _takes(graph, shift, scale):
    """Whether beta - mean m has that m."""
    made = _computed(graph, shift)
    return len(made) == 1 and scale in map(int, made[0].inputs)


def _computed(graph, operator):
    """The operators behind the inputs of an operator that are no constants."""
    return [one for one in (graph.producer(int(i)) for i in operator.inputs) if one is not None]
