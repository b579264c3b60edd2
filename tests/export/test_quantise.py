import dataclasses

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_vit.export import flatbuffer, quantise, tflite
from keras_vit.export.quantise import Quantiser, layer_name
from keras_vit.export.replay import tflite_predictor
from tests.export.toys import toy_model


@pytest.fixture(scope="module")
def quantiser(float_file, expected):
    return Quantiser(float_file.read_bytes(), expected.images)


@pytest.fixture(scope="module")
def depthwise(toy_source, expected, tmp_path_factory):
    """Of a model with depthwise convolutions of 5 x 5 and 7 x 7."""
    small, large = (
        keras.layers.DepthwiseConv2D(k, padding="same", name=name) for name, k in (("small", 5), ("large", 7))
    )
    folder = tmp_path_factory.mktemp("depthwise")
    source = dataclasses.replace(toy_source, model=toy_model(layer=lambda x: large(small(x))))
    tflite.run_converter(source, folder / "float.tflite", folder / "static")
    return Quantiser((folder / "float.tflite").read_bytes(), expected.images)


@pytest.fixture
def answer(quantiser, expected, tmp_path):
    """A file's probabilities and operators."""

    def answer(*arguments, **options):
        path = tmp_path / "file.tflite"
        path.write_bytes(quantiser.quantised(*arguments, **options))
        predict = tflite_predictor(str(path), 1)
        answered = np.concatenate([predict(image[np.newaxis].astype("float32")) for image in expected.images])
        return answered, flatbuffer.inspect_file(path).operators

    return answer


def test_layers_are_dense_layers_and_convolutions(quantiser):
    assert [layer_name(name) for name in quantiser.layers("int8")] == ["stem", "hidden", "head"]
    assert quantiser.layers("none") == ()


@pytest.mark.parametrize(
    "quantisation, error", [("float16", 1e-3), ("int16x8", 0.02), ("dynamic_int8", 0.05), ("int8", 0.1)]
)
def test_answers_stay_close(answer, expected, quantisation, error):
    answered, _ = answer(quantisation)
    assert 0 < np.abs(answered - expected.probabilities).max() < error


def test_only_layers_are_quantised(answer):
    _, operators = answer("int8")
    assert operators["QUANTIZE"] == 3 and operators["DEQUANTIZE"] == 4  # around each layer, and behind the picture
    assert operators["GELU"] == 2 and operators["SOFTMAX"] == 1
    _, rounded = answer("int8", rounded=True)
    assert rounded["QUANTIZE"] == 4


def test_rounded_answers_are_steps_of_1_255(answer):
    exact, rounded = answer("int8")[0], answer("int8", rounded=True)[0]
    np.testing.assert_allclose(rounded, np.round(exact * 255) / 255, atol=1e-6)


@pytest.mark.parametrize("quantisation", ["float16", "dynamic_int8"])
def test_with_all_layers_kept_it_is_the_float_file(quantiser, answer, quantisation):
    kept = quantiser.layers(quantisation)
    np.testing.assert_array_equal(answer(quantisation, kept)[0], answer("none")[0])
    assert "DEQUANTIZE" not in answer(quantisation, kept)[1]


@pytest.mark.parametrize("quantisation", ["int8", "int16x8"])
def test_with_all_layers_kept_it_is_the_dynamic_file(quantiser, answer, quantisation):
    kept = quantiser.layers(quantisation)
    np.testing.assert_allclose(answer(quantisation, kept)[0], answer("dynamic_int8")[0], atol=1e-6)


@pytest.mark.parametrize("quantisation", ["int8", "int16x8"])
def test_with_all_layers_float_it_is_the_float_file(quantiser, answer, quantisation):
    layers = quantiser.layers(quantisation)
    np.testing.assert_allclose(answer(quantisation, layers, floats=layers)[0], answer("none")[0], atol=1e-6)


def test_a_kept_layer_alone_is_not_quantised(quantiser, answer):
    assert answer("int8", quantiser.layers("int8")[1:2])[1]["QUANTIZE"] == 2


def test_constants_lie_in_the_flatbuffer_where_metadata_may_move_them(quantiser, tmp_path, expected, monkeypatch):
    from litert_quantizer.model_modifier import ModelModifier

    large = ModelModifier._serialize_model  # what it does with files above 256 KB
    packed = __import__("litert_quantizer.model_modifier", fromlist=["_PackedBufferData"])._PackedBufferData
    monkeypatch.setattr(ModelModifier, "_serialize_small_model", lambda self, model: large(self, model, packed(model)))
    content = quantiser.quantised("dynamic_int8")
    predictions = []
    for number, data in enumerate((content, flatbuffer.add_metadata(content, "ANY", bytes(1000)))):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(data)
        predictions.append(tflite_predictor(str(path), 1)(expected.images[:1].astype("float32")))
    np.testing.assert_array_equal(*predictions)


@pytest.mark.parametrize("quantisation", ["dynamic_int8", "int8"])
def test_depthwise_convolutions_stay_float_where_the_kernel_is_small(depthwise, quantisation):
    graph = schema.ModelT.InitFromPackedBuf(depthwise.quantised(quantisation), 0).subgraphs[0]
    types = {tuple(tensor.shape): tensor.type for tensor in graph.tensors if tensor.shape is not None}
    assert types[1, 5, 5, 32] == schema.TensorType.FLOAT32 and types[1, 7, 7, 32] == schema.TensorType.INT8
    assert [layer_name(name) for name in depthwise.layers(quantisation)] == ["stem", "large", "hidden", "head"]
    assert len(depthwise.layers("float16")) == 5


def test_names_of_layers():
    model = "StatefulPartitionedCall/swin_t_1/"
    assert layer_name(model + "stage0_block0_1/attn_1/qkv_1/Tensordot") == "stage0_block0/attn/qkv"
    assert layer_name(model + "block0_1/attn_1/proj_1/Tensordot/MatMul1") == "block0/attn/proj"
    assert layer_name(model + "block0_1/attn_1/MatMul_1") == "block0/attn/MatMul_1"
    assert layer_name(model + "fc2_1/Tensordot;StatefulPartitionedCall/convnext_t_1/scale_1/mul") == "fc2"
    assert layer_name("odd") == "odd"


def test_without_the_package_the_pip_line_is_given(quantiser, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "litert_quantizer", None)
    with pytest.raises(ValueError, match=r"pip install 'keras-vit-models\[edge\]'"):
        quantiser.quantised("int8")
    assert quantise.Quantiser(b"float", None).quantised("none") == b"float"
