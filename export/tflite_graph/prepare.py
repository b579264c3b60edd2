"""The float file that a quantization starts from, and the ranges of its activations."""

from typing import NamedTuple

import numpy as np

from keras_vit.export.tflite_graph import gptq, passes
from keras_vit.export.tflite_graph.graph import PRODUCT, WEIGHTED, Graph
from keras_vit.export.tflite_graph.ranges import measure, per_tensor, with_margins
from keras_vit.export.tflite_graph.sources import denses, normalisations

REWRITES = ("pixels", "balance", "margins", "spread", "fit")  # of `passes`, `ranges.with_margins` and `gptq`
NORMALISATIONS, VALUES = 0.75, 0.5  # how far `balance` levels channels
FITTED_ON = 64  # images, of all that ranges are measured on


class Prepared(NamedTuple):
    """A rewritten file.

    Attributes:
        graph: its `Graph`, with the weights as they are.
        fitted: {name of a layer's output: (its operator, number of its weights on the grid of int8)}.
        ranges: {name of a tensor: {"min", "max"}}; None where activations are quantized at run time.
    """

    graph: Graph
    fitted: dict
    ranges: dict | None

    def content(self, floats=()):
        """The file's bytes, with weights on the grid of int8 but for the layers `floats`."""
        before = {}
        for name, (operator, weights) in self.fitted.items():
            if name not in floats:
                before[name] = int(operator.inputs[1])
                self.graph.give(operator, 1, weights)
        try:
            return self.graph.content()
        finally:
            for name, weights in before.items():
                self.graph.give(self.fitted[name][0], 1, weights)


def prepare(content, static, images, rewrites, folder, kinds=(*WEIGHTED, PRODUCT)):
    """Rewrite a float file for a quantization.

    Args:
        content: its bytes.
        static: whether activations have ranges, which are measured.
        images: uint8 (N, H, W, 3), to measure activations on; not needed without ranges and rewrites.
        rewrites: of REWRITES.
        folder: to write files into meanwhile.
        kinds: of the operators whose activations are measured.

    Returns:
        A `Prepared`.
    """
    graph = Graph(content)
    if "pixels" in rewrites:
        passes.pixels_into_patches(graph)
    seen = measure(graph, kinds, images, folder) if static or "balance" in rewrites else {}
    if "balance" in rewrites:
        passes.balance(graph, seen, normalisations(graph), NORMALISATIONS)
        if static:
            passes.balance(graph, seen, denses(graph), VALUES)
    if "margins" in rewrites:
        seen = with_margins(graph, seen)
    if "spread" in rewrites:
        passes.spread(graph, seen)
    fitted = gptq.fitted(graph, images[:FITTED_ON], folder) if "fit" in rewrites else {}
    return Prepared(graph, fitted, _with_ends(graph, per_tensor(graph, seen)) if static else None)


def _with_ends(graph, ranges):
    """The ranges with those of pixels and probabilities, whatever the images: a step is one pixel value, or 1/255."""
    ends = {int(tensor): 1.0 for tensor in graph.main.outputs if _is_probability(graph, int(tensor))}
    ends[int(graph.main.inputs[0])] = 255.0
    return ranges | {graph.name(one): {"min": np.zeros(1), "max": np.full(1, most)} for one, most in ends.items()}


def _is_probability(graph, tensor):
    """Whether a tensor is the result of a softmax or a sigmoid, reshaped maybe."""
    operator = graph.producer(tensor)
    while operator is not None and graph.kind(operator) == "RESHAPE":
        operator = graph.producer(int(operator.inputs[0]))
    return operator is not None and graph.kind(operator) in ("SOFTMAX", "LOGISTIC")
