"""TF Serving's messages in and out, with a stand-in for the model; test_app.py has a real one."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    prediction_service_pb2,
    regression_pb2,
)

from keras_vit.export.devserver import prediction_service
from keras_vit.export.devserver.engine import Engine
from keras_vit.export.devserver.rest import RestError, Signature

ENCODED = Signature("serving_default", {"image_bytes": (bytes, (None,))}, {"classes": None, "scores": None})
IMAGES = Signature("images", {"images": (np.float32, (None, 2, 1))}, {"sums": None})
OTHERS = Signature("others", {"a": (np.uint8, (None,)), "f": (np.bool_, (None,))}, {"x": None})
HALF = Signature("half", {"h": (np.float16, (None,))}, {"x": None})


class Servable:
    """Answers with what it was asked."""

    number, signature_defs = 3, {"serving_default": meta_graph_pb2.SignatureDef(method_name="m")}
    signatures = {one.name: one for one in (ENCODED, IMAGES, OTHERS, HALF)}

    def submit(self, name, inputs):
        self.inputs, outputs = inputs, Future()
        names = np.array([[b"\xff"]], object)
        outputs.set_result({"classes": names, "scores": np.float32([[0.5, 2]]), "sums": np.int32([7]), "x": None})
        return outputs


class Servables:
    """One model, "m", of one version with one label."""

    def __init__(self):
        self.servable = Servable()

    def find(self, model, version=None, label=None):
        if (model, version or 3, label or "stable") != ("m", 3, "stable"):
            raise RestError(404, f"Servable not found for request: {model} {version} {label}")
        return self.servable

    def status(self, model, version=None):
        state = {"error_code": "UNKNOWN", "error_message": "broken"}
        return {"model_version_status": [{"version": str(version or 3), "state": "END", "status": state}]}


@pytest.fixture
def service():
    return prediction_service.PredictionService(Engine(Servables()))


def ask(service, method, request):
    """The answer's bytes of a method, by its name on the wire."""
    return asyncio.run(service.methods()[f"/tensorflow.serving.{method}"](request.SerializeToString()))


def predict(service, signature="", outputs=(), **inputs):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = "m", signature
    for name, value in inputs.items():
        proto = value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value)
        request.inputs[name].CopyFrom(proto)
    return predict_pb2.PredictResponse.FromString(ask(service, "PredictionService/Predict", request))


def test_a_prediction(service):
    response = predict(service, image_bytes=[b"\xff\0", b""])
    assert service._engine.servables.servable.inputs["image_bytes"].tolist() == [b"\xff\0", b""]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 3, "serving_default")
    assert set(response.outputs) == {"classes", "scores"}
    assert tf.make_ndarray(response.outputs["classes"]).tolist() == [[b"\xff"]]
    assert list(response.outputs["scores"].float_val) == [0.5, 2]  # as TF Serving has them, not in tensor_content
    assert [dim.size for dim in response.outputs["scores"].tensor_shape.dim] == [1, 2]
    assert set(predict(service, outputs=["scores"], image_bytes=[b""]).outputs) == {"scores"}


@pytest.mark.parametrize("field", ["content", "values"])
def test_arrays_in_both_forms(service, field):
    array = np.array([[[1], [-2.5]], [[np.nan], [4]]], np.float32)
    proto = tf.make_tensor_proto(array)
    if field == "values":
        proto.ClearField("tensor_content")
        proto.float_val.extend(array.ravel())
    response = predict(service, "images", images=proto)
    given = service._engine.servables.servable.inputs["images"]
    assert given.dtype == np.float32 and given.tobytes() == array.tobytes() and given.shape == array.shape
    assert list(response.outputs["sums"].int_val) == [7]


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "uint16", "int32", "int64", "float32", "float64", "float16"]
)
def test_every_type_comes_back(dtype):
    array = np.array([[0, 1, 1]], dtype)
    proto = prediction_service.tensor_proto(array)
    assert proto == tensor_pb2.TensorProto.FromString(proto.SerializeToString())
    back = tf.make_ndarray(proto)
    assert back.dtype == array.dtype and back.tolist() == array.tolist()


def shaped(sizes, dtype=tf.float32, **fields):
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, **fields)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


def unknown_shape():
    proto = shaped([])
    proto.tensor_shape.unknown_rank = True
    return proto


GOOD = np.zeros((1, 2, 1), np.float32)
REFUSED = {
    "no inputs": ("images", {}, r"input size does not match signature: 0!=1. Sent extra: {}. Missing .*: {images}"),
    "others": ("images", {"images": GOOD, "x": GOOD}, "2!=1. Sent extra: {x}. Missing but required: {}"),
    "another name": ("images", {"x": GOOD}, "Sent extra: {x}. Missing but required: {images}"),
    "another type": ("images", {"images": GOOD.astype("uint8")}, "expecting float32 but got: DT_UINT8"),
    "no type": ("images", {"images": tensor_pb2.TensorProto()}, "but got: DT_INVALID"),
    "a type that is none": ("images", {"images": tensor_pb2.TensorProto(dtype=9999)}, "but got: 9999"),
    "numbers": ("", {"image_bytes": [1]}, "expecting string but got: DT_INT32"),
    "another shape": ("images", {"images": GOOD[0]}, r"expecting shape \[\?,2,1\] but got: \[2,1\]"),
    "no shape": ("images", {"images": unknown_shape()}, "the shape is unknown"),
    "negative": ("images", {"images": shaped([-1, 2, 1], float_val=[0, 0])}, "whole numbers"),
    "one for many": ("images", {"images": shaped([2**30, 2, 1], float_val=[0])}, "2147483648 elements .* got: 1"),
    "none for many": ("images", {"images": shaped([2**30, 2, 1])}, "expecting 2147483648 elements .* got: 0"),
    "too many": ("images", {"images": shaped([1, 2, 1], float_val=[0] * 3)}, "expecting 2 elements .* got: 3"),
    "other bytes": ("images", {"images": shaped([1, 2, 1], tensor_content=b"\0" * 7)}, "expecting 8 bytes"),
    "bytes of strings": ("", {"image_bytes": shaped([1], tf.string, tensor_content=b"\0" * 8)}, "1 elements"),
    "one string for many": ("", {"image_bytes": shaped([9], tf.string, string_val=[b""])}, "9 elements"),
    "does not fit": (
        "others",
        {"a": shaped([1], tf.uint8, int_val=[256]), "f": [True]},
        "Input a: an element does not fit uint8",
    ),
    "halves": ("half", {"h": shaped([1], tf.half, half_val=[1])}, "1 elements in tensor_content"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_inputs_that_are_refused(service, name):
    signature, inputs, problem = REFUSED[name]
    with pytest.raises(RestError, match=problem) as error:
        predict(service, signature, **inputs)
    assert error.value.status == 400


def test_other_inputs():
    inputs = {"a": shaped([2], tf.uint8, int_val=[0, 255]), "f": tf.make_tensor_proto([True, False])}
    read = prediction_service.read_inputs(inputs, OTHERS)
    assert read["a"].tolist() == [0, 255] and read["f"].tolist() == [True, False] and read["f"].dtype == bool
    read = prediction_service.read_inputs({"h": tf.make_tensor_proto(np.float16([1, 2]))}, HALF)
    assert read["h"].tolist() == [1, 2] and read["h"].dtype == np.float16


@pytest.mark.parametrize(
    "signature, outputs, status, problem",
    [
        ("none", [], 412, 'Serving signature key "none" not found.'),
        (
            "",
            ["x"],
            400,
            "output tensor alias not found in signature: x Outputs expected to be in the set {classes,sco",
        ),
        ("", ["scores", "scores"], 400, "duplicate output tensor alias: scores"),
    ],
)
def test_signatures_and_outputs_that_are_not_there(service, signature, outputs, status, problem):
    with pytest.raises(RestError, match=problem) as error:
        predict(service, signature, outputs, image_bytes=[b""])
    assert error.value.status == status


REQUESTS = {
    "PredictionService/Predict": predict_pb2.PredictRequest,
    "PredictionService/GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "PredictionService/Classify": classification_pb2.ClassificationRequest,
    "PredictionService/Regress": regression_pb2.RegressionRequest,
    "ModelService/GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
}


@pytest.mark.parametrize("method", REQUESTS)
def test_messages_without_a_model_and_those_that_are_none(service, method):
    with pytest.raises(RestError, match="Missing ModelSpec") as error:
        ask(service, method, REQUESTS[method]())
    assert error.value.status == 400
    with pytest.raises(RestError, match=f"The message is no {REQUESTS[method].__name__}") as error:
        ask(service, method, SimpleNamespace(SerializeToString=lambda: b"\xff\xff"))
    assert error.value.status == 400


@pytest.mark.parametrize("method", ["PredictionService/Predict", "PredictionService/Classify"])
def test_which_version(service, method):
    def request(**spec):
        request = REQUESTS[method]()
        request.model_spec.name = spec.pop("name", "m")
        if "version" in spec:
            request.model_spec.version.value = spec["version"]
        if "label" in spec:
            request.model_spec.version_label = spec["label"]
        return request

    for spec, status in (({"name": ""}, 400), ({"name": "n"}, 404), ({"version": 4}, 404), ({"label": "x"}, 404)):
        with pytest.raises(RestError) as error:
            ask(service, method, request(**spec))
        assert error.value.status == status, spec
    for spec in ({}, {"version": 3}, {"label": "stable"}):
        with pytest.raises(RestError, match="does not match signature|Expected classification") as error:
            ask(service, method, request(**spec))


@pytest.mark.parametrize("method, kind", [("Classify", "classification"), ("Regress", "regression")])
def test_classify_and_regress_as_tf_serving_answers_them(service, method, kind):
    request = REQUESTS[f"PredictionService/{method}"]()
    request.model_spec.name = "m"
    expected = f"Expected {kind} signature method_name to be tensorflow/serving/{method.lower()}. Was: .*/predict"
    with pytest.raises(RestError, match=expected) as error:
        ask(service, f"PredictionService/{method}", request)
    assert error.value.status == 400
    request.model_spec.signature_name = "none"
    with pytest.raises(RestError, match="No signature was found with the name: none"):
        ask(service, f"PredictionService/{method}", request)


def test_metadata_and_status(service):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "m"
    for fields, problem in (([], "at least one metadata_field"), (["x"], "Metadata field x is not supported")):
        with pytest.raises(RestError, match=problem):
            request.metadata_field[:] = fields
            ask(service, "PredictionService/GetModelMetadata", request)
    request.metadata_field[:] = ["signature_def"]
    content = ask(service, "PredictionService/GetModelMetadata", request)
    response, signatures = get_model_metadata_pb2.GetModelMetadataResponse(), get_model_metadata_pb2.SignatureDefMap()
    response.ParseFromString(content)
    assert (response.model_spec.name, response.model_spec.version.value) == ("m", 3)
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].method_name == "m"

    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.version.value = 9
    content = ask(service, "ModelService/GetModelStatus", request)
    (state,) = get_model_status_pb2.GetModelStatusResponse.FromString(content).model_version_status
    assert (state.version, state.status.error_code, state.status.error_message) == (9, 2, "broken")
    assert state.State.Name(state.state) == "END"


def test_the_methods_are_those_of_the_service(service):
    services = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
    names = {f"/{services.full_name}/{method.name}" for method in services.methods}
    ours = {name for name in service.methods() if "PredictionService" in name}
    assert names - ours == {"/tensorflow.serving.PredictionService/MultiInference"}
