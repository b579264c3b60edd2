"""What int8 in one layer does to a file's outputs, for every layer in turn.

Each layer is computed in int8 by NumPy, and the difference is added to what it gives in the float file, which takes
one more input per layer for it. So a single file tells the effects of all layers, without a quantized one for each.
"""

import numpy as np

from keras_vit.export.parity import parity
from keras_vit.export.tflite_graph.graph import PRODUCT, WEIGHTED, Graph
from keras_vit.export.tflite_graph.ranges import activations, observed
from keras_vit.prediction.tflite_interpreter import open_interpreter

LARGEST = 127  # of weights


def effects(graph, layers, ranges, steps, images, folder):
    """The outputs of a float file with one layer in int8.

    Args:
        graph: a `Graph`.
        layers: names of the output tensors of weighted operators, and of products of activations.
        ranges: {name of a tensor: {"min", "max"}} of static files; None for activations quantized at run time.
        steps: in a range.
        images, folder: as `observed`.

    Yields:
        (layer, its outputs, a list of (N, ...) in the file's order), and first (None, those of the float file).
    """
    operators = {graph.name(int(one.outputs[0])): one for one in graph.of_kinds((*WEIGHTED, PRODUCT))}
    operators = {name: operators[name] for name in layers}
    wanted = sorted({tensor for one in operators.values() for tensor in activations(graph, one)})
    seen = [{t: v.copy() for t, v in one.items()} for one in observed(graph, wanted, images, folder)]
    noisy = Graph(graph.content())
    places = {name: noisy.add_input_behind(int(one.outputs[0])) for name, one in operators.items()}
    path = folder / "noisy.tflite"
    path.write_bytes(noisy.content())
    interpreter = open_interpreter(path, parity.cores())
    interpreter.allocate_tensors()
    for place in places.values():
        interpreter.set_tensor(place, np.zeros(noisy.shape(place), "float32"))

    def outputs(noises=None, place=None):
        found = []
        for number, image in enumerate(images):
            interpreter.set_tensor(int(noisy.main.inputs[0]), image[np.newaxis].astype("float32"))
            if place is not None:
                interpreter.set_tensor(place, noises[number])
            interpreter.invoke()
            found.append([interpreter.get_tensor(int(output)).copy() for output in noisy.main.outputs])
        if place is not None:
            interpreter.set_tensor(place, np.zeros_like(noises[0]))
        return [np.concatenate(values) for values in zip(*found)]

    yield None, outputs()
    for name, operator in operators.items():
        yield name, outputs([_noise(graph, operator, one, ranges, steps) for one in seen], places[name])


def _noise(graph, operator, values, ranges, steps):
    """What quantization adds to the output of an operator, given the values of its tensors.

    The operator is linear in either factor: y' = y + W' x' - W x, so that biases need not be known.
    """

    def quantized(tensor, x):
        return _static(x, ranges[graph.name(tensor)], steps) if ranges else _at_run_time(x)

    *inputs, output = activations(graph, operator)
    exact = [values[tensor] for tensor in inputs]
    rounded = [quantized(tensor, x) for tensor, x in zip(inputs, exact)]
    if (kernel := graph.constant(int(operator.inputs[1]))) is not None:
        exact, rounded = [*exact, kernel], [*rounded, _rounded(graph, operator, kernel)]
    y = values[output]
    result = y + (product(graph, operator, *rounded) - product(graph, operator, *exact)).reshape(y.shape)
    return ((quantized(output, result) if ranges else result) - y).astype("float32")


def _static(x, seen, steps):
    """x in so many steps of a range."""
    low, high = float(np.ravel(seen["min"])[0]), float(np.ravel(seen["max"])[0])
    step = max(high - low, 1e-30) / steps
    zero = np.round(-low / step)
    return (np.clip(np.round(x / step) + zero, 0, steps) - zero) * step


def _at_run_time(x):
    """x in 256 steps of the range of each row."""
    axes = -1 if x.ndim < 4 else (1, 2, 3)
    step = (np.maximum(x.max(axes, keepdims=True), 0) - np.minimum(x.min(axes, keepdims=True), 0)) / (2 * LARGEST + 1)
    return np.round(x / np.maximum(step, 1e-30)) * step


def _rounded(graph, operator, kernel):
    """The weights on the grid of int8, with a scale per output channel."""
    axes = (0, 1, 2) if graph.kind(operator) == "DEPTHWISE_CONV_2D" else tuple(range(1, kernel.ndim))
    step = np.maximum(np.abs(kernel).max(axes, keepdims=True), 1e-30) / LARGEST
    return np.round(kernel / step) * step


def product(graph, operator, x, kernel):
    """The product of an operator's two factors, without a bias."""
    if graph.kind(operator) == PRODUCT:
        options = operator.builtinOptions
        x = np.swapaxes(x, -1, -2) if options.adjX else x
        return x @ (np.swapaxes(kernel, -1, -2) if options.adjY else kernel)
    if graph.kind(operator) == "FULLY_CONNECTED":
        return x.reshape(-1, kernel.shape[1]) @ kernel.T
    windows = _windows(graph, operator, x, kernel.shape[1:3])  # 1 H W C h w
    if graph.kind(operator) == "DEPTHWISE_CONV_2D":
        return np.einsum("bijchw,hwc->bijc", windows, kernel[0])
    return np.tensordot(windows, kernel, ((4, 5, 3), (1, 2, 3)))


def _windows(graph, operator, x, sides):
    """What a convolution sees at each place; TensorFlow pads the end by one more where the sum is odd."""
    options, given = operator.builtinOptions, graph.shape(operator.outputs[0])[1:3]
    strides, dilations = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    reached = [(side - 1) * d + 1 for side, d in zip(sides, dilations)]
    missing = [max((n - 1) * s + k - size, 0) for n, s, k, size in zip(given, strides, reached, x.shape[1:3])]
    x = np.pad(x, [(0, 0), *((n // 2, n - n // 2) for n in missing), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, reached, (1, 2))
    return windows[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]
