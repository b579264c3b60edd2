"""Quantized .tflite files, from the float32 one as `tflite_graph.prepare` rewrites it, by litert-quantizer.

    float16        weights of dense layers and convolutions in float16; the arithmetic stays float32
    dynamic_int8   those weights in int8, a scale per output channel; activations become int8 while the file runs;
                   depthwise convolutions of up to 5 x 5 stay float32
    int8           dense layers and convolutions in int8, activations in measured ranges; depthwise ones as in
                   dynamic_int8; takes uint8
    int16x8        as int8, with int16 activations, also of attention's products; for accelerators, slow on CPUs

LayerNorm, softmax, GELU and residual sums stay float. With every operator in int8, a Swin-T's logits had a cosine of
-0.2 with the float file's, and took 99 ms; float takes 101 and the int8 here 40 (one x86 core). The product of two
activations stays float too, since XNNPACK has no int8 kernel for it: quantized, 60 ms in 24 partitions, not 40 in 4.
Depthwise convolutions with measured ranges made a ConvNeXt-T twice as slow as with activations quantized at run time.
XNNPACK does not run the latter: each ends a partition. Above 25 taps, where XNNPACK's float kernel is slow, that is
faster nevertheless (ConvNeXt-T 46 ms, with float ones 83); for 3 x 3 it is slower (PVTv2-B0 26 ms in 9 partitions, with
float ones 12 in one). The 7 x 7 of the models here are converted in parts of at most 25 taps, which are faster still.

TensorFlow's own quantizer, with the same operators excluded, gives files of the same speed and accuracy. It takes a
minute per file instead of three seconds, and layers are tried one by one; nor does it mix the two kinds.
"""

import contextlib
import functools
import io
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_vit.export.edge.quantizations import STATIC
from keras_vit.export.tflite_graph import flatbuffer, noise
from keras_vit.export.tflite_graph.graph import PRODUCT, WEIGHTED, Graph
from keras_vit.export.tflite_graph.prepare import prepare
from keras_vit.system.files import scratch_folder

ACTIVATION_BITS = {"int8": 8, "int16x8": 16}
DEPTHWISE = "DEPTHWISE_CONV_2D"
OPERATORS = {  # that a quantization changes
    "none": (),
    "float16": WEIGHTED,
    "dynamic_int8": WEIGHTED,
    "int8": WEIGHTED,
    "int16x8": (*WEIGHTED, PRODUCT),
}
FLOAT_TAPS = {"dynamic_int8": 25, "int8": 25}  # depthwise kernels of at most this many taps stay float32
REWRITES = {  # before it; int16x8 has steps enough without
    "float16": (),
    "dynamic_int8": ("balance", "fit"),
    "int8": ("pixels", "balance", "margins", "spread", "fit"),
    "int16x8": (),
}
STEPS = 255  # of a probability in uint8


class Operator(NamedTuple):
    """What quantization needs of an operator.

    Attributes:
        output: name of its output tensor.
        kind: its name in the schema, e.g. "CONV_2D".
        constant: whether it is a product with a constant, for which there is no int16 kernel.
        taps: height times width of a depthwise kernel; 0 for other operators.
    """

    output: str
    kind: str
    constant: bool
    taps: int


class Quantizer:
    """Quantizes one float .tflite file.

    Args:
        content: the file's bytes; one input in [0, 255].
        images: uint8 (N, H, W, 3), to measure activations on.
        real: whether they are images as the model will see them; if they are noise, no weights are fitted to them, and
            dynamic_int8 is made without them.
        rewrites: of `prepare.REWRITES`, for any quantization; default those of its own.
    """

    def __init__(self, content, images, real=True, rewrites=None):
        self.content, self.images, self.real, self.rewrites = content, images, real, rewrites
        self._made = {}

    def layers(self, quantization):
        """Names of the output tensors of the operators that a quantization changes, in the file's order."""
        changed, never = OPERATORS[quantization], self._never(quantization)
        return tuple(one.output for one in self._operators if one.kind in changed and one.output not in never)

    def _never(self, quantization):
        """Output tensors of the operators that a quantization never changes."""
        most = FLOAT_TAPS.get(quantization, 0)
        return [one.output for one in self._operators if one.constant or 0 < one.taps <= most]

    @functools.cached_property
    def _operators(self):
        """All operators, in the file's order."""
        graph, found = Graph(self.content), []
        for operator in graph.operators:
            kind, inputs = graph.kind(operator), [int(i) for i in operator.inputs if i >= 0]
            constant = kind == PRODUCT and any(graph.constant(tensor) is not None for tensor in inputs)
            taps = int(np.prod(graph.shape(inputs[1])[1:3])) if kind == DEPTHWISE else 0
            found.append(Operator(graph.name(int(operator.outputs[0])), kind, constant, taps))
        return found

    def prepared(self, quantization):
        """The `Prepared` file that a quantization starts from."""
        if quantization not in self._made:
            with scratch_folder() as folder:
                rewrites, static = self._rewrites(quantization), quantization in STATIC
                self._made[quantization] = prepare(
                    self.content, static, self.images, rewrites, Path(folder), OPERATORS[quantization]
                )
        return self._made[quantization]

    def _rewrites(self, quantization):
        if self.rewrites is not None:
            return self.rewrites
        if self.real:
            return REWRITES[quantization]
        return [one for one in REWRITES[quantization] if one != "fit"] if quantization in STATIC else ()

    def quantized(self, quantization, kept=(), rounded=False, floats=()):
        """The bytes of a quantized file.

        Args:
            quantization: of `QUANTIZATIONS`.
            kept: those of `layers` whose activations stay float: int8 and int16x8 quantize them as dynamic_int8 does,
                dynamic_int8 not at all.
            rounded: whether int8 and int16x8 give probabilities as uint8, in steps of 1/255; else float32.
            floats: those of `kept` that int8 and int16x8 do not quantize at all.
        """
        if quantization == "none":
            return self.content
        package, never = _package(), self._never(quantization)
        prepared = self.prepared(quantization)
        in_float = floats if quantization in STATIC else kept
        quantizer = package.quantizer.Quantizer(prepared.content(in_float))
        products = [one.output for one in self._operators if one.kind == PRODUCT and one.output not in (*never, *kept)]
        _add_recipe(quantizer, quantization, kept, products, rounded)
        _keep_float(quantizer, [*in_float, *never])
        with _quiet():
            result = quantizer.quantize(prepared.ranges, enable_progress_bar=False, enable_progress_report=False)
        return flatbuffer.pack(_model(result.quantized_model))

    def effects(self, quantization, images):
        """The outputs of the float file, and with each of `layers` quantized alone: `noise.effects`."""
        prepared = self.prepared(quantization)
        with scratch_folder() as folder:
            steps = 2 ** ACTIVATION_BITS.get(quantization, 8) - 1
            layers = self.layers(quantization)
            yield from noise.effects(prepared.graph, layers, prepared.ranges, steps, images, Path(folder))


def layer_name(tensor):
    """The layer's path in the Keras model, as far as a tensor's name has it: "stage0_block1/attn/qkv"."""
    parts = tensor.partition(";")[0].removeprefix("StatefulPartitionedCall/").split("/")
    layers = [part.removesuffix("_1") for part in parts[1:] if part.endswith("_1") and not part.startswith("MatMul")]
    product = parts[-1:] if re.fullmatch(r"MatMul(_\d+)?", parts[-1]) else []
    return "/".join([*layers, *product]) or tensor


def _add_recipe(quantizer, quantization, kept, products, rounded):
    """Add the rules of a quantization; the last one that matches an operator holds."""
    types = _package().qtyping
    weighted = [types.TFLOperationName(name) for name in WEIGHTED]
    static = quantization in STATIC
    for operator in weighted:
        if quantization == "float16":
            quantizer.update_quantization_recipe(".*", operator, _float16(types), "float_casting")
        elif quantization == "dynamic_int8" or (quantization, operator.value) == ("int8", DEPTHWISE):
            quantizer.add_dynamic_config(".*", operator, 8)
        else:
            quantizer.add_static_config(".*", operator, ACTIVATION_BITS[quantization], 8)
    for operator in weighted if kept and static else ():
        quantizer.add_dynamic_config(_scopes(kept), operator, 8)
    if products and PRODUCT in OPERATORS[quantization]:
        quantizer.add_static_config(_scopes(products), types.TFLOperationName(PRODUCT), 16, 8)
    for end in ("INPUT", "OUTPUT")[: static + (static and rounded)]:
        quantizer.update_quantization_recipe(".*", types.TFLOperationName(end), _uint8(types))


def _keep_float(quantizer, layers):
    """Add the last rules; their scopes are spelled differently: a rule of an equal scope takes the earlier place."""
    types = _package().qtyping
    for name in WEIGHTED if layers else ():
        quantizer.update_quantization_recipe(f"{_scopes(layers)}|^$", types.TFLOperationName(name), None, "no_quantize")


def _scopes(tensors):
    return f"^(?:{'|'.join(map(re.escape, tensors))});$"


def _float16(types):
    return types.OpQuantizationConfig(
        weight_tensor_config=types.TensorQuantizationConfig(16, dtype=types.TensorDataType.FLOAT),
        compute_precision=types.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )


def _uint8(types):
    return types.OpQuantizationConfig(
        activation_tensor_config=types.TensorQuantizationConfig(8, symmetric=False, dtype=types.TensorDataType.UINT),
        weight_tensor_config=types.TensorQuantizationConfig(8, granularity=types.QuantGranularity.CHANNELWISE),
        compute_precision=types.ComputePrecision.INTEGER,
    )


def _model(content):
    """A file as the schema's `ModelT`.

    litert-quantizer appends constants to the flatbuffer, where only newer runtimes find them, and only while no offset
    changes; packed again they are inside.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(content)


def _package():
    try:
        import litert_quantizer
        import litert_quantizer.quantizer
    except ImportError as error:
        raise ValueError("Quantization needs litert-quantizer: pip install 'keras-vit-models[edge]'") from error
    return litert_quantizer


@contextlib.contextmanager
def _quiet():
    """Without progress bars and the warning about the memory of tensors kept for inspection."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
