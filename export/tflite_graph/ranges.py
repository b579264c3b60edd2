"""The ranges of activations over calibration images, per channel."""

from typing import NamedTuple

import numpy as np

from keras_vit.export.parity import parity
from keras_vit.prediction.tflite_interpreter import open_interpreter

INPUTS, OUTPUTS = 1.1, 1.3  # margins: images that were not calibrated on reach farther
GELU_FLOOR = -4.0  # GELU(x) is within 1.3e-4 of 0 below


class Range(NamedTuple):
    """Smallest and largest values per channel, float32 (C,)."""

    low: np.ndarray
    high: np.ndarray

    def joined(self, other):
        """The range of both."""
        return Range(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def changed(self, factor, offset):
        """The range of (x - offset) * factor, for factors above 0."""
        return Range((self.low - offset) * factor, (self.high - offset) * factor)

    def reach(self, offset=0.0):
        """The largest magnitudes of x - offset."""
        return np.maximum(np.abs(self.low - offset), np.abs(self.high - offset))

    @property
    def middle(self):
        """The midpoints."""
        return (self.low + self.high) / 2


def observed(graph, tensors, images, folder):
    """The values of tensors, image by image.

    Args:
        graph: a `Graph`.
        tensors: their numbers.
        images: uint8 (N, H, W, 3).
        folder: to write a file into.

    Yields:
        {number: array}.
    """
    path = folder / "observed.tflite"
    path.write_bytes(graph.content(tensors))
    interpreter = open_interpreter(path, parity.cores())
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    for one in images:
        interpreter.set_tensor(image["index"], one[np.newaxis].astype("float32"))
        interpreter.invoke()
        yield {tensor: interpreter.get_tensor(tensor) for tensor in tensors}


def measure(graph, kinds, images, folder):
    """The ranges of what operators take and give.

    Args:
        graph, images, folder: as `observed`.
        kinds: of the operators.

    Returns:
        {number of a tensor: its `Range`}.
    """
    wanted, found = set(), {}
    for operator in graph.of_kinds(kinds):
        wanted.update(activations(graph, operator))
    for values in observed(graph, sorted(wanted), images, folder):
        for tensor, value in values.items():
            value = value.reshape(-1, value.shape[-1])
            one = Range(value.min(0), value.max(0))
            found[tensor] = found[tensor].joined(one) if tensor in found else one
    return found


def activations(graph, operator):
    """Numbers of the tensors that a weighted operator, or a product, takes and gives; no constants."""
    tensors = [int(one) for one in (*operator.inputs[:2], operator.outputs[0])]
    return [tensor for tensor in tensors if graph.constant(tensor) is None]


def with_margins(graph, ranges):
    """Ranges of weighted layers for images that were not calibrated on.

    What goes into a layer gets the margin INPUTS, what comes out of one OUTPUTS. Where only GELU sees an output, it is
    not below GELU_FLOOR.
    """
    taken = {int(operator.inputs[0]) for operator in graph.weighted()}
    found = {}
    for tensor, seen in ranges.items():
        margin = INPUTS if tensor in taken else OUTPUTS
        low, high = margin * np.minimum(seen.low, 0), margin * np.maximum(seen.high, 0)
        kinds = {graph.kind(operator) for operator, _ in graph.consumers(tensor)}
        found[tensor] = Range(np.maximum(low, GELU_FLOOR) if kinds == {"GELU"} else low, high)
    return found


def per_tensor(graph, ranges):
    """{name of a tensor: {"min", "max"}}, as litert-quantizer takes them; zero is in every range."""
    return {
        graph.name(tensor): {
            "min": np.array([min(float(seen.low.min()), 0.0)], "float32"),
            "max": np.array([max(float(seen.high.max()), 0.0)], "float32"),
        }
        for tensor, seen in ranges.items()
    }
