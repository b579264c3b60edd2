"""A file as it would be computed in float16, on a CPU.

Every constant, and what every operator gives, is rounded to float16, by two CASTs behind the operator; beyond 65504 a
number is infinite then. Within an operator sums stay float32, as in the delegate's means and softmax
(tflite/delegates/gpu/common/tasks/reduce.cc, softmax1x1.cc); GPUs may sum products in float16, which this does not
show.
"""

from typing import NamedTuple

import numpy as np

from keras_vit.export.tflite_graph.graph import PRODUCT, WEIGHTED, Graph
from keras_vit.export.tflite_graph.noise import product
from keras_vit.export.tflite_graph.ranges import activations, observed

LARGEST = float(np.finfo("float16").max)


class Emulated(NamedTuple):
    """What a file gives in float16.

    Attributes:
        outputs: float32 (N, ...) each, in the file's order.
        overflow: (operator, its output tensor) of the first that gives infinite numbers or NaN; None if none does.
        largest: the largest finite magnitude that an operator gives.
        where: its output tensor.
    """

    outputs: list
    overflow: tuple[str, str] | None
    largest: float
    where: str


def emulate(content, images, folder):
    """Run a float file as in float16.

    Args:
        content: its bytes.
        images: uint8 (N, H, W, 3).
        folder: to write a file into.

    Returns:
        An `Emulated`.
    """
    graph = Graph(content)
    rounded = _rounded(graph)
    kinds = {tensor: (graph.kind(operator), graph.name(int(operator.outputs[0]))) for operator, tensor in rounded}
    ends, outputs, largest, overflow = list(map(int, graph.main.outputs)), [], (0.0, ""), None
    for values in observed(graph, list(kinds), images, folder):
        outputs.append([values[end] for end in ends])
        for tensor, (kind, name) in kinds.items():
            most = float(np.abs(values[tensor]).max())
            if not most <= LARGEST:
                overflow = overflow or (kind, name)
                break
            largest = max(largest, (most, name))
    return Emulated([np.concatenate(values) for values in zip(*outputs)], overflow, *largest)


def largest_sum(content, images, folder):
    """The largest sum of magnitudes within a product: above LARGEST, a GPU that sums in float16 may overflow.

    Args:
        content: bytes of a float file, weights in float32.
        images, folder: as `emulate`.

    Returns:
        (sum, output tensor of the operator).
    """
    graph, largest = Graph(content), (0.0, "")
    operators = [(one, activations(graph, one)[:-1]) for one in graph.of_kinds((*WEIGHTED, PRODUCT))]
    for values in observed(graph, sorted({tensor for _, taken in operators for tensor in taken}), images, folder):
        for operator, taken in operators:
            factors = [np.abs(values[tensor]) for tensor in taken]
            if len(factors) < 2:
                factors.append(np.abs(graph.constant(int(operator.inputs[1]))))
            most = float(product(graph, operator, *factors).max())
            largest = max(largest, (most, graph.name(int(operator.outputs[0]))))
    return largest


def _rounded(graph):
    """Round all constants and outputs of operators of a graph; returns (operator, number of its rounded output)."""
    operators, found = graph.operators, []
    for tensor in {int(one) for operator in operators for one in operator.inputs if one >= 0}:
        values = graph.constant(tensor)
        if values is not None and values.dtype == "float32":
            with np.errstate(over="ignore"):
                rounded = graph.add_constant(graph.name(tensor), values.astype("float16").astype("float32"))
            graph.replace(tensor, rounded)
    for operator in operators:
        for output in map(int, operator.outputs):
            if graph.dtype(output) == "float32":
                found.append((operator, _round_behind(graph, operator, output)))
    return found


def _round_behind(graph, operator, output):
    shape, behind = graph.shape(output), graph.following(operator)
    half = graph.add_operator(behind, "CAST", [output], shape, "Cast", "float16", inDataType=0, outDataType=1)
    back = graph.add_operator(behind, "CAST", [half], shape, "Cast", inDataType=1, outDataType=0)
    graph.replace(output, back)
    graph.give(graph.producer(half), 0, output)  # the first itself takes the output
    return back
