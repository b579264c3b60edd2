"""Quantised .tflite files, made of the float32 one by litert-quantizer.

    float16        weights of dense layers and convolutions in float16; the arithmetic stays float32
    dynamic_int8   those weights in int8, a scale per output channel; activations become int8 while the file runs;
                   depthwise convolutions of up to 5 x 5 stay float32
    int8           dense layers and convolutions in int8, their activations in ranges measured beforehand; depthwise
                   convolutions as in dynamic_int8; takes uint8
    int16x8        as int8 with int16 activations, attention's products among them; for accelerators: CPUs are slower

LayerNorm, softmax, GELU and residual sums stay float. With every operator in int8, a Swin-T's logits had a cosine of
-0.2 with the float file's, and took 99 ms where float takes 101 and the int8 here 40 (one x86 core). The product of two
activations stays float too, since XNNPACK has no int8 kernel for it: with it, 60 ms in 24 partitions, not 40 in 4.
Depthwise convolutions with ranges made a ConvNeXt-T twice as slow as with activations quantised while it runs. Those
are not XNNPACK's: each ends a partition. Above 25 taps, where XNNPACK's float kernel is slow, that pays (ConvNeXt-T
46 ms, with float ones 83), for 3 x 3 it does not (PVTv2-B0 26 ms in 9 partitions, with float ones 12 in one). The 7 x 7
of the models here have been converted in parts of at most 25 taps, which are faster still.

TensorFlow's own quantiser, with the same operators denied to it, gives files of the same speed and accuracy. It takes a
minute for each where this one takes three seconds, and layers are tried one by one; nor does it mix the two kinds.
"""

import contextlib
import functools
import io
import re
import warnings
from typing import NamedTuple

import numpy as np

from keras_vit.export import parity

DEFAULT = ("none", "dynamic_int8")
QUANTISATIONS = ("none", "float16", "dynamic_int8", "int8", "int16x8")
STATIC = ("int8", "int16x8")  # with measured ranges; these take uint8
ACTIVATION_BITS = {"int8": 8, "int16x8": 16}
DEPTHWISE = "DEPTHWISE_CONV_2D"
WEIGHTED = ("FULLY_CONNECTED", "CONV_2D", DEPTHWISE)
PRODUCT = "BATCH_MATMUL"
OPERATORS = {  # that a quantisation changes, each with its weights
    "none": (),
    "float16": WEIGHTED,
    "dynamic_int8": WEIGHTED,
    "int8": WEIGHTED,
    "int16x8": (*WEIGHTED, PRODUCT),
}
FLOAT_TAPS = {"dynamic_int8": 25, "int8": 25}  # depthwise kernels of up to so many taps stay float32
SIGNATURE = "serving_default"
STEPS = 255  # of a probability in uint8


class Operator(NamedTuple):
    """What quantising asks of an operator.

    Attributes:
        output: name of the tensor that it gives.
        kind: its name in the schema, e.g. "CONV_2D".
        constant: whether it is a product with a constant, for which there is no int16 kernel.
        taps: height times width of a depthwise kernel; 0 of all else.
    """

    output: str
    kind: str
    constant: bool
    taps: int


class Quantiser:
    """A float .tflite file, and what was measured of it.

    Args:
        content: the file's bytes; one input in [0, 255], one output in [0, 1].
        images: uint8 (N, H, W, 3), to measure the ranges of activations on.
    """

    def __init__(self, content, images):
        self.content, self.images = content, images
        self._ranges = None

    def layers(self, quantisation):
        """Names of the tensors that those operators give which a quantisation changes, in the file's order."""
        changed, never = OPERATORS[quantisation], self._never(quantisation)
        return tuple(one.output for one in self._operators if one.kind in changed and one.output not in never)

    def _never(self, quantisation):
        """Outputs of the operators that a quantisation leaves as they are, whatever is kept."""
        most = FLOAT_TAPS.get(quantisation, 0)
        return [one.output for one in self._operators if one.constant or 0 < one.taps <= most]

    @functools.cached_property
    def _operators(self):
        """All of them, in the file's order."""
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromPackedBuf(self.content, 0)
        graph, names = model.subgraphs[0], {value: name for name, value in vars(schema.BuiltinOperator).items()}
        found = []
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            inputs = [graph.tensors[i] for i in operator.inputs if i >= 0]
            constant = name == PRODUCT and any(model.buffers[tensor.buffer].data is not None for tensor in inputs)
            taps = int(np.prod(inputs[1].shape[1:3])) if name == DEPTHWISE else 0
            found.append(Operator(graph.tensors[operator.outputs[0]].name.decode(), name, constant, taps))
        return found

    def quantised(self, quantisation, kept=(), rounded=False, floats=()):
        """The bytes of a quantised file.

        Args:
            kept: of `layers`, those whose activations stay float: in int8 and int16x8 they are quantised as in
                dynamic_int8, and in dynamic_int8 not at all.
            floats: of `kept`, those that in int8 and int16x8 are not quantised at all either.
            rounded: whether int8 and int16x8 give probabilities as uint8, in steps of 1/255; else float32.
        """
        if quantisation == "none":
            return self.content
        quantizer = _package().quantizer.Quantizer(self.content)
        never = self._never(quantisation)
        products = [one.output for one in self._operators if one.kind == PRODUCT and one.output not in (*never, *kept)]
        _add_recipe(quantizer, quantisation, kept, products, rounded)
        _keep_float(quantizer, [*(floats if quantisation in STATIC else kept), *never])
        ranges = self._measured() if quantisation in STATIC else None
        with _quiet():
            result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        return _inlined(result.quantized_model)

    def _measured(self):
        """{tensor: {"min": ..., "max": ...}} over all images."""
        if self._ranges is None:
            package = _package()
            mode = package.calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
            update = package.utils.qsv_utils.min_max_update
            with _quiet():
                calibrator = package.calibrator.Calibrator(
                    self.content, num_threads=parity.cores(), mode=mode, qsv_update_func=update
                )
                for image in self.images:
                    one = {"image": image[np.newaxis].astype("float32")}
                    calibrator.calibrate({SIGNATURE: [one]}, None)  # ranges of all tensors, whatever the recipe
            self._ranges = calibrator.get_model_qsvs() | self._known_ranges()
        return self._ranges

    def _known_ranges(self):
        """Of the input and the output: exact whatever the images, so that a step is one pixel value, or 1/255."""
        from ai_edge_litert import schema_py_generated as schema

        graph = schema.ModelT.InitFromPackedBuf(self.content, 0).subgraphs[0]
        ends = ((graph.inputs[0], 255.0), (graph.outputs[0], 1.0))
        return {graph.tensors[i].name.decode(): {"min": np.zeros(1), "max": np.array([top])} for i, top in ends}


def layer_name(tensor):
    """The layer's path in the Keras model, as far as a tensor's name tells: "stage0_block1/attn/qkv"."""
    parts = tensor.partition(";")[0].removeprefix("StatefulPartitionedCall/").split("/")
    layers = [part.removesuffix("_1") for part in parts[1:] if part.endswith("_1") and not part.startswith("MatMul")]
    product = parts[-1:] if re.fullmatch(r"MatMul(_\d+)?", parts[-1]) else []
    return "/".join([*layers, *product]) or tensor


def _add_recipe(quantizer, quantisation, kept, products, rounded):
    """Rules of litert-quantizer, of which the last one that fits an operator holds."""
    types = _package().qtyping
    weighted = [types.TFLOperationName(name) for name in WEIGHTED]
    static = quantisation in STATIC
    for operator in weighted:
        if quantisation == "float16":
            quantizer.update_quantization_recipe(".*", operator, _float16(types), "float_casting")
        elif quantisation == "dynamic_int8" or (quantisation, operator.value) == ("int8", DEPTHWISE):
            quantizer.add_dynamic_config(".*", operator, 8)
        else:
            quantizer.add_static_config(".*", operator, ACTIVATION_BITS[quantisation], 8)
    for operator in weighted if kept and static else ():
        quantizer.add_dynamic_config(_scopes(kept), operator, 8)
    if products and PRODUCT in OPERATORS[quantisation]:
        quantizer.add_static_config(_scopes(products), types.TFLOperationName(PRODUCT), 16, 8)
    for end in ("INPUT", "OUTPUT")[: static + (static and rounded)]:
        quantizer.update_quantization_recipe(".*", types.TFLOperationName(end), _uint8(types))


def _keep_float(quantizer, layers):
    """The last rules; scopes written as those of an earlier rule would take its place, not the last."""
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


def _inlined(content):
    """The file with its constants in the flatbuffer: litert-quantizer lays them behind it, where only newer runtimes
    find them, and only as long as nothing moves.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(content)
    for buffer in model.buffers:
        if buffer.data is not None:
            buffer.data = np.frombuffer(buffer.data, np.uint8)  # written at once, not byte by byte
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _package():
    try:
        import litert_quantizer
        import litert_quantizer.calibrator
        import litert_quantizer.quantizer
        import litert_quantizer.utils.qsv_utils
    except ImportError as error:
        raise ValueError("Quantising needs litert-quantizer: pip install 'keras-vit-models[edge]'") from error
    return litert_quantizer


@contextlib.contextmanager
def _quiet():
    """Without progress bars, and without a warning of the memory that tensors kept for inspection take."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
