"""LayerNorm as normalisation, then scale, then shift: as Keras writes it, the three cannot be taken apart.

    Keras     x (r gamma) + (-mean r gamma + beta),   r = rsqrt(mean((x - mean)^2) + epsilon)
    here      ((x - mean) r) gamma + beta

Keras' has five operators over all numbers besides the variance, the normalisation here two, one of which the variance
takes too. tf.nn.batch_normalization with moments of its own input, x (r gamma) + (beta - mean r gamma), is the same.
"""

from typing import NamedTuple


class Normalisation(NamedTuple):
    """The tensors of a LayerNorm; scale and shift are None where it has none."""

    x: str
    mean: str
    variance: str
    epsilon: str
    scale: str | None
    shift: str | None


def separate_normalisations(graph):
    """Rewrite every LayerNorm.

    Args:
        graph: a `Graph`, which is changed.
    """
    for operator in graph.operators:
        found = _matched(graph, operator)
        if found is not None:
            graph.replace(operator.output, _written(graph, operator, found))
    graph.remove_unused()


def _written(graph, operator, found):
    """The same from operators of its own; returns the tensor."""
    name, shape, narrow = operator.name, graph.shape(found.x), graph.shape(found.mean)
    variance = graph.producer(found.variance)
    centred = graph.add_operator(f"{name}/centred", "Sub", [found.x, found.mean], shape)
    squares = graph.add_operator(f"{name}/squares", "Square", [centred], shape)
    axes = {"keep_dims": True, "Tidx": graph.dtype(variance.inputs[1])}
    mean = graph.add_operator(f"{name}/variance", "Mean", [squares, variance.inputs[1]], narrow, **axes)
    kept = graph.add_operator(f"{name}/epsilon", "AddV2", [mean, found.epsilon], narrow)
    inverse = graph.add_operator(f"{name}/rsqrt", "Rsqrt", [kept], narrow)
    given = graph.add_operator(f"{name}/normal", "Mul", [centred, inverse], shape)
    if found.scale is not None:
        given = graph.add_operator(f"{name}/scale", "Mul", [given, found.scale], shape)
    if found.shift is not None:
        given = graph.add_operator(f"{name}/shift", "AddV2", [given, found.shift], shape)
    return given


def _matched(graph, operator):
    """The `Normalisation` that an operator ends; else None."""
    for scaled, moved in _both_ways(operator, "AddV2"):
        for x, factor in _both_ways(graph.producer(scaled), "Mul"):
            for mean, shift in _moves(graph, moved, factor):
                found = _of_moments(graph, x, mean, factor)
                if found is not None:
                    return found._replace(shift=shift)
    return None


def _moves(graph, moved, factor):
    """(mean, shift) pairs such that `moved` is shift - mean * factor; shift is None for zero."""
    producer = graph.producer(moved)
    if producer is None:
        return
    for part, shift in [(moved, None), *_both_ways(producer, "AddV2")]:
        for negative, other in _both_ways(graph.producer(part), "Mul"):
            source = graph.producer(negative)
            if other == factor and source is not None and source.kind == "Neg" and _is_constant(graph, shift):
                yield source.inputs[0], shift
    if producer.kind == "Sub" and graph.constant(producer.inputs[0]) is not None:
        for mean, other in _both_ways(graph.producer(producer.inputs[1]), "Mul"):
            if other == factor:
                yield mean, producer.inputs[0]


def _of_moments(graph, x, mean, factor):
    """The `Normalisation` whose mean and variance are those of x, without its shift; else None."""
    producer, scale = graph.producer(factor), None
    for inverse, other in _both_ways(producer, "Mul"):
        if graph.constant(other) is not None:
            producer, scale = graph.producer(inverse), other
            break
    if producer is None or producer.kind != "Rsqrt" or not _is_mean(graph, mean):
        return None
    for variance, epsilon in _both_ways(graph.producer(producer.inputs[0]), "AddV2"):
        if graph.constant(epsilon) is None or not _is_mean(graph, variance):
            continue
        average, moments = graph.producer(mean), graph.producer(variance)
        squares = graph.producer(moments.inputs[0])
        differs = squares is not None and squares.kind == "SquaredDifference" and set(squares.inputs) == {x, mean}
        same_axes = (graph.constant(average.inputs[1]) == graph.constant(moments.inputs[1])).all()
        if differs and same_axes and average.inputs[0] == x and graph.shape(x) is not None:
            return Normalisation(x, mean, variance, epsilon, scale, None)
    return None


def _is_mean(graph, tensor):
    operator = graph.producer(tensor)
    if operator is None or operator.kind != "Mean" or not operator.attribute("keep_dims"):
        return False
    return graph.constant(operator.inputs[1]) is not None and graph.shape(tensor) is not None


def _is_constant(graph, tensor):
    return tensor is None or graph.constant(tensor) is not None


def _both_ways(operator, kind):
    """The two inputs of an operator of this kind in both orders; [] for other operators."""
    if operator is None or operator.kind != kind:
        return []
    first, second = operator.inputs
    return [(first, second), (second, first)]
