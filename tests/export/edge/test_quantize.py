import dataclasses

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_vit.export.edge import quantize, tflite
from keras_vit.export.edge.quantize import Quantizer, layer_name
from keras_vit.export.tflite_graph import flatbuffer
from keras_vit.prediction.tflite_interpreter import open_interpreter, signature_predictor
from tests.export.toys import toy_model


@pytest.fixture(scope="module")
def quantizer(float_file, expected):
    return Quantizer(float_file.read_bytes(), expected.images)


@pytest.fixture(scope="module")
def depthwise(toy_source, expected, tmp_path_factory):
    """Of a model with depthwise convolutions of 5 x 5 and 7 x 7."""
    small, large = (
        keras.layers.DepthwiseConv2D(k, padding="same", name=name) for name, k in (("small", 5), ("large", 7))
    )
    folder = tmp_path_factory.mktemp("depthwise")
    source = dataclasses.replace(toy_source, model=toy_model(layer=lambda x: large(small(x))))
    tflite.run_converter(source, folder / "float.tflite", folder / "static")
    return Quantizer((folder / "float.tflite").read_bytes(), expected.images)


@pytest.fixture
def run(quantizer, expected, tmp_path):
    """A file's probabilities and operators."""

    def run(*arguments, **options):
        path = tmp_path / "file.tflite"
        path.write_bytes(quantizer.quantized(*arguments, **options))
        predict = signature_predictor(open_interpreter(path, 1))
        outputs = np.concatenate([predict(image[np.newaxis].astype("float32")) for image in expected.images])
        return outputs, flatbuffer.inspect_file(path).operators

    return run


def test_layers_are_dense_layers_and_convolutions(quantizer):
    assert [layer_name(name) for name in quantizer.layers("int8")] == ["stem", "hidden", "head"]
    assert quantizer.layers("none") == ()


@pytest.mark.parametrize(
    "quantization, error", [("float16", 1e-3), ("int16x8", 0.02), ("dynamic_int8", 0.05), ("int8", 0.1)]
)
def test_outputs_stay_close(run, expected, quantization, error):
    outputs, _ = run(quantization)
    assert 0 < np.abs(outputs - expected.probabilities).max() < error


def test_only_layers_are_quantized(run):
    _, operators = run("int8")
    assert operators["QUANTIZE"] == operators["DEQUANTIZE"] == 3  # around each layer; the first takes pixels
    assert operators["GELU"] == 2 and operators["SOFTMAX"] == 1
    _, rounded = run("int8", rounded=True)
    assert rounded["QUANTIZE"] == 4


def test_rounded_outputs_are_steps_of_1_255(run):
    exact, rounded = run("int8")[0], run("int8", rounded=True)[0]
    np.testing.assert_allclose(rounded, np.round(exact * 255) / 255, atol=1e-6)


@pytest.mark.parametrize("quantization", ["float16", "dynamic_int8"])
def test_with_all_layers_kept_it_is_the_float_file(quantizer, run, quantization):
    kept = quantizer.layers(quantization)
    np.testing.assert_allclose(run(quantization, kept)[0], run("none")[0], atol=1e-6)
    assert "DEQUANTIZE" not in run(quantization, kept)[1]


@pytest.mark.parametrize("quantization", ["int8", "int16x8"])
def test_with_all_layers_kept_activations_are_quantized_at_run_time(quantizer, run, expected, quantization):
    outputs, operators = run(quantization, quantizer.layers(quantization))
    assert "QUANTIZE" not in operators and 0 < np.abs(outputs - expected.probabilities).max() < 0.05


@pytest.mark.parametrize("quantization", ["int8", "int16x8"])
def test_with_all_layers_float_it_is_the_float_file(quantizer, run, quantization):
    layers = quantizer.layers(quantization)
    np.testing.assert_allclose(run(quantization, layers, floats=layers)[0], run("none")[0], atol=1e-6)


def test_a_kept_layer_alone_is_not_quantized(quantizer, run):
    assert run("int8", quantizer.layers("int8")[1:2])[1]["QUANTIZE"] == 2


def test_constants_are_inside_the_flatbuffer_where_metadata_may_move_them(quantizer, tmp_path, expected, monkeypatch):
    from litert_quantizer.model_modifier import ModelModifier

    large = ModelModifier._serialize_model  # what it does with files above 256 KB
    packed = __import__("litert_quantizer.model_modifier", fromlist=["_PackedBufferData"])._PackedBufferData
    monkeypatch.setattr(ModelModifier, "_serialize_small_model", lambda self, model: large(self, model, packed(model)))
    content = quantizer.quantized("dynamic_int8")
    predictions = []
    for number, data in enumerate((content, flatbuffer.add_metadata(content, "ANY", bytes(1000)))):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(data)
        predictions.append(signature_predictor(open_interpreter(path, 1))(expected.images[:1].astype("float32")))
    np.testing.assert_array_equal(*predictions)


@pytest.mark.parametrize("quantization", ["dynamic_int8", pytest.param("int8", marks=pytest.mark.slow)])
def test_depthwise_convolutions_stay_float_where_the_kernel_is_small(depthwise, quantization):
    graph = schema.ModelT.InitFromPackedBuf(depthwise.quantized(quantization), 0).subgraphs[0]
    types = {tuple(tensor.shape): tensor.type for tensor in graph.tensors if tensor.shape is not None}
    assert types[1, 5, 5, 32] == schema.TensorType.FLOAT32 and types[1, 7, 7, 32] == schema.TensorType.INT8
    assert [layer_name(name) for name in depthwise.layers(quantization)] == ["stem", "large", "hidden", "head"]
    assert len(depthwise.layers("float16")) == 5


def test_names_of_layers():
    model = "StatefulPartitionedCall/swin_t_1/"
    assert layer_name(model + "stage0_block0_1/attn_1/qkv_1/Tensordot") == "stage0_block0/attn/qkv"
    assert layer_name(model + "block0_1/attn_1/proj_1/Tensordot/MatMul1") == "block0/attn/proj"
    assert layer_name(model + "block0_1/attn_1/MatMul_1") == "block0/attn/MatMul_1"
    assert layer_name(model + "fc2_1/Tensordot;StatefulPartitionedCall/convnext_t_1/scale_1/mul") == "fc2"
    assert layer_name("odd") == "odd"


def test_without_the_package_the_error_has_the_pip_line(quantizer, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "litert_quantizer", None)
    with pytest.raises(ValueError, match=r"pip install 'keras-vit-models\[edge\]'"):
        quantizer.quantized("int8")
    assert quantize.Quantizer(b"float", None).quantized("none") == b"float"
