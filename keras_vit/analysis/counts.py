"""Parameters and multiply-adds of a model, in total and part by part.

The multiply-adds are counted in the graph that TensorFlow runs for one image, so they cannot drift from the layers.
Papers write them as "FLOPs", timm as GMACs. Elementwise work (norms, softmax, GELU, biases, resizing) is left out, as
papers and timm leave it out.
"""

import math
import re
from dataclasses import dataclass

import keras

from keras_vit.models.blocks import block_of, stage_of

OTHER = "(between the layers)"


@dataclass(frozen=True)
class Part:
    """A stage, a run of blocks, or a single layer such as the stem or the head.

    Attributes:
        parameters: entries of its weights, stored tables included; weights shared with an earlier part count there.
        multiply_adds: for one image.
    """

    name: str
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Counts:
    """The result of `count`; print it for a table.

    Attributes:
        model: name of the model.
        input_shape: of one image, (H, W, C).
        parts: in the order of the model; layers with neither weights nor products are left out.
    """

    model: str
    input_shape: tuple[int, ...]
    parts: tuple[Part, ...]

    @property
    def parameters(self):
        """Of the whole model."""
        return sum(part.parameters for part in self.parts)

    @property
    def multiply_adds(self):
        """Of the whole model, for one image."""
        return sum(part.multiply_adds for part in self.parts)

    def __str__(self):
        size = " x ".join(str(side) for side in self.input_shape)
        total = Part("total", self.parameters, self.multiply_adds)
        width = max(len(part.name) for part in (*self.parts, total))
        head = f"{self.model}, one image of {size}\n{'':{width}}  {'parameters':>13}  {'multiply-adds':>17}\n"
        return head + "\n".join(
            f"{part.name:{width}}  {part.parameters:>13,}  {part.multiply_adds:>17,}" for part in (*self.parts, total)
        )


def count(model, image_size=None):
    """Parameters and multiply-adds of a model, for one image.

    Args:
        model: a functional model with one input, e.g. any of keras_vit.models.
        image_size: (H, W) in pixels, of a model of any size; by default that of the model's input.

    Returns:
        Counts.

    Raises:
        ValueError: for other models.
        RuntimeError: on backends other than TensorFlow, whose graph is counted.
    """
    inputs = getattr(model, "inputs", None) or ()
    shape = tuple(inputs[0].shape[1:]) if isinstance(model, keras.Model) and len(inputs) == 1 else ()
    if image_size and len(shape) == 3 and all(n in (None, m) for n, m in zip(shape, image_size)):
        shape = (*image_size, shape[2])
    if not shape or None in shape:
        raise ValueError(
            "count: expected a built keras.Model with one input of known height and width, or its image_size. "
            f"Received: {getattr(model, 'name', model)!r} with inputs {list(inputs)}, image_size={image_size}"
        )
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"count reads TensorFlow's graph. Received: the {keras.backend.backend()!r} backend; "
            "set KERAS_BACKEND=tensorflow in a process of its own"
        )
    products = _products_by_layer(model, shape)
    parameters, seen = {}, set()
    for layer in model.layers:
        own = {id(weight): math.prod(weight.shape) for weight in layer.weights if id(weight) not in seen}
        parameters[layer.name] = sum(own.values())
        seen.update(own)
    return Counts(model.name, shape, _parts(parameters, products))


def _parts(parameters, products):
    """Layers that make up one stage, or one run of blocks, in one row each."""
    rows = {}
    for layer in (*parameters, OTHER):
        rows.setdefault(_part_name(layer), []).append(layer)
    parts = []
    for name, members in rows.items():
        part = Part(
            f"{name} ({len(members)})" if name in ("blocks", "parallel blocks") else name,
            sum(parameters.get(layer, 0) for layer in members),
            sum(products.get(layer, 0) for layer in members),
        )
        if part.parameters or part.multiply_adds:
            parts.append(part)
    return tuple(parts)


def _part_name(layer):
    """stage2_block5 -> stage2, block11 -> blocks, parallel3 and stage1_parallel3_qkv -> parallel blocks."""
    block, stage = block_of(layer), stage_of(layer)
    if block:
        return block.group
    return layer if stage is None else f"stage{stage}"


def _products_by_layer(model, shape):
    """Layer of the functional model -> multiply-adds of the operations traced inside it."""
    import tensorflow as tf

    names = {layer.name for layer in model.layers}
    image = tf.TensorSpec((1, *shape), model.inputs[0].dtype)
    graph = tf.function(lambda x: model(x, training=False), autograph=False).get_concrete_function(image).graph
    products = {}
    for operation in graph.get_operations():
        layer = _layer_of(operation.name, names)
        products[layer] = products.get(layer, 0) + _multiply_adds(operation, graph)
    return products


def _layer_of(operation_name, names):
    """The layer whose name scope an operation lies in: "swin_t_1/stage0_block0_1/attn_1/MatMul" -> stage0_block0."""
    for scope in operation_name.split("/"):
        for name in (re.sub(r"_\d+$", "", scope), scope):  # every scope but the first of its name gets a number
            if name in names:
                return name
    return OTHER


def _multiply_adds(operation, graph):
    """Of one operation; of one that calls a function, those inside it."""
    called = operation.type in ("PartitionedCall", "StatefulPartitionedCall")
    if called:
        body = graph._get_function(operation.get_attr("f").name).graph
        return sum(_multiply_adds(inner, body) for inner in body.get_operations())
    rule = RULES.get(operation.type)
    if rule is None:
        return 0
    shapes = [tuple(x.shape) for x in (*operation.inputs, *operation.outputs)]
    if any(None in shape for shape in shapes):
        raise ValueError(f"count: shapes of {operation.name!r} are not known from the model. Received: {shapes}")
    return rule(operation, *shapes)


def _matmul(operation, a, b, out):
    """Every entry of the result sums over the axis that both operands share."""
    flipped = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    return math.prod(out) * (a[-2] if flipped else a[-1])


def _convolution(operation, image, kernel, out):
    """kernel: (kh, kw, channels of the group, filters)."""
    return math.prod(out) * math.prod(kernel[:3])


def _depthwise_convolution(operation, image, kernel, out):
    """kernel: (kh, kw, channels, multiplier); every output pixel sums over one channel."""
    return math.prod(out) * math.prod(kernel[:2])


def _transposed_convolution(operation, sizes, kernel, image, out):
    """kernel: (kh, kw, filters, channels); every input pixel is spread over the kernel."""
    return math.prod(image) * math.prod(kernel[:3])


def _einsum(operation, *shapes):
    """The product of the lengths of all letters."""
    letters = operation.get_attr("equation").decode().replace("->", ",").split(",")
    lengths = {letter: n for word, shape in zip(letters, shapes) for letter, n in zip(word, shape)}
    return math.prod(lengths.values()) if len(letters) > 2 else 0  # one operand is a sum, no product


RULES = {
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _depthwise_convolution,
    "Conv2DBackpropInput": _transposed_convolution,
    "Einsum": _einsum,
}
