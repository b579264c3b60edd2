"""Whether LiteRT's GPU delegate takes every operator of a file.

The rules are those of LiteRT 2.3 (github.com/google-ai-edge/LiteRT at f674577, whose litert/version.bzl says 2.3.0):

    list     tflite/tools/versioning/gpu_compatibility.cc, CheckGpuDelegateCompatibility: which operators, with what
    builder  tflite/delegates/gpu/common/model_builder.cc: what its parsers can read; a file that passes the list and
             not these fails when the delegate builds its model
    drift    ml_drift_delegate/tflite/support: what the accelerator behind CompiledModel takes

TensorFlow 2.21's analyzer (gpu_compatibility=True) is no help: it called a STRIDED_SLICE with shrink_axis_mask
compatible, which the list refuses. Operators of the list that no model here has are refused as well.

The delegate holds every tensor as batch, height, width, channels: (N, C) has its rows in the batch, (1, N, C) in the
width. Where an operator takes tensors of both, it reads the wrong numbers: these are refused here too.
"""

from typing import NamedTuple

import numpy as np

from keras_vit.export.edge.quantize import layer_name
from keras_vit.export.tflite_graph.graph import Graph

RANK = 4
UNARY = frozenset("EXP GELU LOG LOGISTIC NEG RELU RSQRT SQRT SQUARE TANH".split())
BINARY = frozenset("ADD DIV MAXIMUM MUL SQUARED_DIFFERENCE SUB".split())
REDUCTIONS = frozenset("MEAN REDUCE_MAX SUM".split())
VERSIONS = {  # the newest that is taken; of others any
    **{**dict.fromkeys(UNARY | BINARY, 2), "MUL": 3},
    **{"CONCATENATION": 2, "CONV_2D": 6, "DEPTHWISE_CONV_2D": 6, "DEQUANTIZE": 3, "FULLY_CONNECTED": 9, "PAD": 2},
    **{"AVERAGE_POOL_2D": 2, "MAX_POOL_2D": 2, "RESHAPE": 1, "RESIZE_BILINEAR": 3, "SLICE": 2, "SOFTMAX": 2},
    **{"SPLIT": 1, "STRIDED_SLICE": 2, "TRANSPOSE": 4},
}


class Refusal(NamedTuple):
    """An operator that the delegate does not take.

    Attributes:
        operator: its name in the schema.
        layer: of the Keras model.
        reason: the rule, and where it stands.
    """

    operator: str
    layer: str
    reason: str


def check(content, name):
    """Check that the delegate takes all operators of a file.

    Args:
        content: the file's bytes.
        name: of the file, for the error.

    Raises:
        ValueError: if not, naming operators, layers and rules.
    """
    refused = refusals(content)
    if refused:
        listed = "; ".join(f"{one.operator} in {one.layer}: {one.reason}" for one in refused[:5])
        more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise ValueError(
            f"LiteRT's GPU delegate refuses {len(refused)} operators of {name}, so it is not kept: {listed}{more}. "
            "--target cpu writes a file for CPUs."
        )


def refusals(content):
    """The operators of a file, given by its bytes, that the delegate does not take: a list of `Refusal`."""
    graph, found = Graph(content), []
    for operator in graph.operators:
        reason = _refused(graph, operator)
        if reason:
            found.append(Refusal(graph.kind(operator), layer_name(graph.name(int(operator.outputs[0]))), reason))
    return found


def _refused(graph, operator):
    """Why an operator is refused; "" if it is not."""
    kind = graph.kind(operator)
    if kind not in RULES:
        return "it is not on the list (list)"
    version = graph.model.operatorCodes[operator.opcodeIndex].version
    if version > VERSIONS.get(kind, version):
        return f"version {version} is above {VERSIONS[kind]} (builder)"
    return _refused_tensors(graph, operator) or RULES[kind](graph, operator) or ""


def _refused_tensors(graph, operator):
    computed = [*_computed(graph, operator), *map(int, operator.outputs)]
    shapes = [graph.shape(tensor) for tensor in computed]
    if any(min(shape, default=0) < 0 for shape in shapes):
        return "its shape is dynamic (list)"
    if max(map(len, shapes), default=0) > RANK:
        return f"rank {max(map(len, shapes))} is above {RANK} (builder)"
    wrong = {graph.dtype(tensor) for tensor in computed} - {"float32"}
    return f"it takes or gives {', '.join(sorted(wrong))} (builder)" if wrong else ""


def layout(shape):
    """A shape as the delegate holds it: batch, height, width, channels."""
    if len(shape) < 2:
        return (*shape, 1, 1, 1, 1)[:RANK]
    return (shape[0], *[1] * (RANK - len(shape)), *shape[1:])


def _is_constant(graph, tensor):
    """Whether a tensor's values are in the file, in float16 too."""
    made = graph.producer(tensor)
    if made is not None and graph.kind(made) == "DEQUANTIZE":
        tensor = int(made.inputs[0])
    return graph.constant(tensor) is not None


def _computed(graph, operator):
    return [int(one) for one in operator.inputs if one >= 0 and not _is_constant(graph, int(one))]


def _anything(graph, operator):
    """An operator with one computed input."""
    computed = _computed(graph, operator)
    return "" if len(computed) == 1 else f"it takes {len(computed)} computed tensors, not one (list)"


def _binary(graph, operator):
    first, second = map(int, operator.inputs)
    computed, given = _computed(graph, operator), graph.shape(operator.outputs[0])
    if not computed:
        return "both inputs are constants (list)"
    if len(computed) == 2:
        if first == second and graph.kind(operator) not in ("ADD", "MUL"):
            return "its inputs are the same tensor (builder)"
        shapes = [graph.shape(one) for one in computed if np.prod(graph.shape(one)) > 1]
        return f"it takes ranks {_listed(shapes)}" if len(set(map(len, shapes))) > 1 else ""
    other = graph.shape(second if computed[0] == first else first)
    return _constant_beside(other, given)


def _constant_beside(constant, shape):
    """Why a constant of this shape cannot be used with a computed tensor of that."""
    if all(side == 1 for side in constant[:-1]):  # one number, or one per channel
        return ""
    if len(constant) == RANK and constant[0] != 1:
        return f"its constant has the batch {constant[0]}, not 1 (builder)"
    if len(constant) == len(shape) and len(shape) < RANK and constant[0] != 1:
        return f"its constant {constant} has rows in the batch (builder)"
    return ""


def _dense(graph, operator):
    source, weights = map(int, operator.inputs[:2])
    if not _is_constant(graph, weights) or len(graph.shape(weights)) != 2:
        return "its weights are not a constant matrix (builder)"
    taken, given = graph.shape(source), graph.shape(operator.outputs[0])
    if taken[-1] != graph.shape(weights)[1]:
        return f"it flattens {taken} (builder)"
    moved = layout(taken)[:3] != layout(given)[:3]
    return f"it gives {given} of {taken}: rows move between batch and width (builder)" if moved else ""


def _product(graph, operator):
    options, (first, second) = operator.builtinOptions, map(int, operator.inputs)
    if options.adjX or options.adjY:
        return "it transposes a factor, which is ignored (builder)"
    if _is_constant(graph, first):
        return "its first factor is a constant (builder)"
    shapes = [graph.shape(first), graph.shape(second)]
    if _is_constant(graph, second):
        return "" if len(shapes[1]) == 2 else f"its constant has rank {len(shapes[1])}, not 2 (builder)"
    return f"it takes ranks {_listed(shapes)}" if len(shapes[0]) != len(shapes[1]) else ""


def _concatenation(graph, operator):
    constants = [graph.shape(int(one)) for one in operator.inputs if _is_constant(graph, int(one))]
    wrong = [shape for shape in constants if len(shape) != RANK]
    if len(constants) == len(operator.inputs):
        return "all of its inputs are constants (drift)"
    return f"its constant has rank {len(wrong[0])}, not {RANK} (builder)" if wrong else ""


def _slice(graph, operator):
    rank = len(graph.shape(operator.inputs[0]))
    options = operator.builtinOptions
    masks = [mask for mask in ("ellipsisMask", "newAxisMask", "shrinkAxisMask") if getattr(options, mask, 0)]
    if masks:
        return f"it has {', '.join(masks)} (list)"
    if rank not in (3, RANK):
        return f"it takes rank {rank}, not 3 or 4 (list)"
    return _anything(graph, operator)


def _split(graph, operator):
    rank = len(graph.shape(operator.inputs[0]))
    return "" if rank == 1 else f"its axis has rank {rank}, not 1 (drift)"


def _transpose(graph, operator):
    rank = len(graph.shape(operator.inputs[0]))
    return _anything(graph, operator) if rank > 1 else "it takes rank 1 (builder)"


def _reduction(graph, operator):
    source, axes = int(operator.inputs[0]), graph.constant(int(operator.inputs[1]))
    if axes is None:
        return "its axes are not constant (list)"
    shape, given = graph.shape(source), graph.shape(operator.outputs[0])
    left = list(shape)
    for axis in np.ravel(axes):
        left[int(axis)] = 1
    if graph.kind(operator) == "MEAN" and layout(left) != layout(given):
        return f"it gives {given} of {shape}: rows move between batch, width and channels (builder)"
    return ""


def _softmax(graph, operator):
    return "" if operator.builtinOptions.beta == 1 else "its beta is not 1 (list)"


def _pad(graph, operator):
    shape = graph.shape(operator.inputs[1])
    return _anything(graph, operator) if shape == (RANK, 2) else f"it pads rank {shape[0]}, not {RANK} (builder)"


def _convolution(graph, operator):
    ranks = [len(graph.shape(one)) for one in (*operator.inputs[:2], operator.outputs[0])]
    if set(ranks) != {RANK} or not _is_constant(graph, int(operator.inputs[1])):
        return "it takes or gives other than rank 4, or its kernel is computed (list)"
    return _anything(graph, operator)


def _resize(graph, operator):
    both = operator.builtinOptions.alignCorners and operator.builtinOptions.halfPixelCenters
    return "it has both align_corners and half_pixel_centers (list)" if both else _anything(graph, operator)


def _dequantize(graph, operator):
    source = int(operator.inputs[0])
    float16 = graph.constant(source) is not None and graph.dtype(source) == "float16"
    return "" if float16 else "it takes other than constants in float16"


def _listed(shapes):
    ranks = " and ".join(str(len(shape)) for shape in shapes)
    return f"{ranks}: rows are in the batch of one and in the width of the other (builder)"


RULES = {
    **dict.fromkeys(UNARY | {"RESHAPE", "AVERAGE_POOL_2D", "MAX_POOL_2D"}, _anything),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _convolution),
    **{"BATCH_MATMUL": _product, "CONCATENATION": _concatenation, "DEQUANTIZE": _dequantize, "PAD": _pad},
    **{"FULLY_CONNECTED": _dense, "RESIZE_BILINEAR": _resize, "SLICE": _slice, "SOFTMAX": _softmax, "SPLIT": _split},
    **{"STRIDED_SLICE": _slice, "TRANSPOSE": _transpose},
}
