"""Paths, bodies and responses of the Open Inference Protocol, by its specification; no model runs here."""

import json

import numpy as np
import pytest

from keras_vit.export.devserver import open_inference, rest
from keras_vit.export.devserver.open_inference import Target
from keras_vit.export.devserver.rest import RestError, Signature

ENCODED, IMAGES = {"image_bytes": (bytes, (None,))}, {"images": (np.float32, (None, 2, 1))}
SIGNATURES = {
    one.name: one
    for one in (
        Signature("features", ENCODED, {"embedding": (np.float32, (None, 4))}),
        Signature("predict_images", IMAGES, {"probabilities": (np.float32, (None, 3))}),
        Signature("features_of_images", IMAGES, {"embedding": (np.float32, (None, 4))}),
        Signature("serving_default", ENCODED, {"classes": (bytes, (None, 2)), "scores": (np.float32, (None, 2))}),
        Signature("two", {"a": (np.int32, (None,)), "f": (np.bool_, (None,))}, {"x": (np.bool_, (None,))}),
    )
}


def parse(request, behind=b"", header=None):
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    header = str(len(body)) if behind and header is None else header
    return open_inference.parse_infer(body + behind, header, SIGNATURES)


def tensor(name="image_bytes", datatype="BYTES", shape=(1,), **more):
    return {"name": name, "datatype": datatype, "shape": list(shape), **more}


def images(**more):
    return tensor("images", "FP32", (2, 2, 1), **more)


@pytest.mark.parametrize(
    "method, path, target",
    [
        ("GET", "/v2", Target("server")),
        ("GET", "/v2/", Target("server")),
        ("GET", "/v2/health/live", Target("live")),
        ("GET", "/v2/health/ready", Target("ready")),
        ("GET", "/v2/models/m", Target("metadata", "m")),
        ("GET", "/v2/models/a%20b:c/versions/12", Target("metadata", "a b:c", 12)),
        ("GET", "/v2/models/m/ready", Target("model ready", "m")),
        ("GET", "/v2/models/m/versions/3/ready", Target("model ready", "m", 3)),
        ("POST", "/v2/models/m/infer", Target("infer", "m")),
        ("POST", f"/v2/models/ready/versions/{'0' * 9000}7/infer", Target("infer", "ready", 7)),
    ],
)
def test_paths(method, path, target):
    assert open_inference.parse_target(method, path) == target


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/", 404),
        ("GET", "/v2/models/m/", 404),
        ("GET", "/v2/models/m/config", 404),
        ("GET", "/v2/models/m/versions/", 404),
        ("GET", "/v2/health", 404),
        ("POST", "/v2/repository/index", 404),
        ("GET", "/v2x", 404),
        ("GET", "/v2/models/m\n/ready\n", 404),
        ("GET", "/v2/models/m/infer", 405),
        ("POST", "/v2/models/m", 405),
        ("PUT", "/v2/models/m/infer", 405),
        ("DELETE", "/v2", 405),
        ("POST", "/v2/models/m/versions/v10/infer", 400),
        ("GET", f"/v2/models/m/versions/{'9' * 5000}", 400),
        ("GET", "/v2/models/m/versions/\u0663", 400),
    ],
)
def test_paths_that_the_protocol_does_not_have(method, path, status):
    with pytest.raises(RestError) as error:
        open_inference.parse_target(method, path)
    assert error.value.status == status and len(str(error.value)) < 200


def test_text_and_base64_in_json():
    request = parse({"id": "42", "inputs": [tensor(shape=[2], data=["a\u00fc", ""])]})
    assert request.signature.name == "serving_default" and request.id == "42"
    assert request.inputs["image_bytes"].tolist() == ["a\u00fc".encode(), b""]
    assert request.outputs == {"classes": False, "scores": False}
    encoded = tensor(shape=[2], data=["/wA=", "YQ"], parameters={"content_type": "base64"})
    assert parse({"inputs": [encoded]}).inputs["image_bytes"].tolist() == [b"\xff\0", b"a"]
    assert parse({"inputs": [tensor(shape=[0], data=[])]}).inputs["image_bytes"].shape == (0,)


@pytest.mark.parametrize("data", [[1, 2.5, 3, 4], [[[1], [2.5]], [[3], [4]]]])
def test_numbers_flat_or_nested(data):
    request = parse({"inputs": [images(data=data)]})
    assert request.signature.name == "predict_images" and request.inputs["images"].dtype == np.float32
    assert request.inputs["images"].tolist() == [[[1], [2.5]], [[3], [4]]]


def test_tensors_behind_the_json():
    two = [
        tensor("f", "BOOL", [2], parameters={"binary_data_size": 2}),
        tensor("a", "INT32", [2], parameters={"binary_data_size": 8}),
    ]
    request = parse({"inputs": two}, b"\1\0" + b"\5\0\0\0\xfe\xff\xff\xff")
    assert {name: array.tolist() for name, array in request.inputs.items()} == {"f": [True, False], "a": [5, -2]}
    two[1] = tensor("a", "INT32", [2], data=[7, 8])  # one of each
    request = parse({"inputs": two}, b"\0\1")
    assert {name: array.tolist() for name, array in request.inputs.items()} == {"f": [False, True], "a": [7, 8]}
    encoded = tensor(shape=[1], parameters={"binary_data_size": 6})
    assert parse({"inputs": [encoded]}, b"\2\0\0\0\xff\0").inputs["image_bytes"].tolist() == [b"\xff\0"]


@pytest.mark.parametrize(
    "inputs, outputs, name",
    [
        (["image_bytes"], [], "serving_default"),
        (["image_bytes"], ["scores"], "serving_default"),
        (["image_bytes"], ["embedding"], "features"),
        (["images"], [], "predict_images"),
        (["images"], ["embedding"], "features_of_images"),
        (["f", "a"], ["x"], "two"),
    ],
)
def test_the_inputs_and_outputs_choose_the_signature(inputs, outputs, name):
    assert open_inference.choose_signature(SIGNATURES, inputs, outputs).name == name
    reverse = dict(reversed(SIGNATURES.items()))
    assert open_inference.choose_signature(reverse, inputs, outputs).name == name


@pytest.mark.parametrize(
    "inputs, outputs, name, problem",
    [
        (["image"], [], None, r'No signature has the inputs \["image"\]. There is serving_default: \["image_bytes"\]'),
        (["image_bytes", "images"], [], None, "No signature has the inputs"),
        (["images"], ["scores"], None, r'the inputs \["images"\] and the outputs \["scores"\]'),
        (["image_bytes"], ["embedding"], "serving_default", 'There is serving_default: .* to .*"scores"'),
        (["image_bytes"], [], "none", "There is no signature 'none'; there are: features, "),
        (["image_bytes"], [], ["none"], "There is no signature"),
        (["image_bytes"], [], "", "There is no signature ''"),
    ],
)
def test_no_signature(inputs, outputs, name, problem):
    with pytest.raises(RestError, match=problem) as error:
        open_inference.choose_signature(SIGNATURES, inputs, outputs, name)
    assert error.value.status == 400


def test_a_parameter_names_the_signature():
    request = parse({"parameters": {"signature_name": "features"}, "inputs": [tensor(data=["x"])]})
    assert request.signature.name == "features" and request.outputs == {"embedding": False}


def test_outputs_as_bytes_or_json():
    wanted = [{"name": "scores"}, {"name": "classes", "parameters": {"binary_data": False}}]
    request = {"inputs": [tensor(data=["x"])], "outputs": wanted, "parameters": {"binary_data_output": True}}
    assert list(parse(request).outputs.items()) == [("scores", True), ("classes", False)]
    assert parse({**request, "outputs": []}).outputs == {"classes": True, "scores": True}
    del request["parameters"]
    wanted[0]["parameters"] = {"binary_data": True}
    assert parse(request).outputs == {"scores": True, "classes": False}


GOOD = tensor(data=["x"])
MALFORMED = {
    "empty": (b"", "The document is empty"),
    "no JSON": (b"inputs", "JSON Parse error"),
    "no object": ([GOOD], "Is not object"),
    "no inputs": ({}, "'inputs' must be a list of objects"),
    "inputs are an object": ({"inputs": GOOD}, "'inputs' must be a list"),
    "an input is none": ({"inputs": [1]}, "'inputs' must be a list of objects"),
    "without a name": ({"inputs": [{"shape": [1]}]}, "must have a 'name'"),
    "a name that is none": ({"inputs": [{**GOOD, "name": ["a"]}]}, "must have a 'name'"),
    "twice": ({"inputs": [GOOD, GOOD]}, "that no other has"),
    "an output twice": ({"inputs": [GOOD], "outputs": [{"name": "scores"}] * 2}, "that no other has"),
    "outputs are none": ({"inputs": [GOOD], "outputs": None}, "'outputs' must be a list"),
    "id is a number": ({"id": 1, "inputs": [GOOD]}, "'id' must be a string"),
    "parameters are none": ({"inputs": [GOOD], "parameters": [1]}, "'parameters' must be an object"),
    "a flag is none": ({"inputs": [GOOD], "parameters": {"binary_data_output": 1}}, "must be true or false"),
    "another type": ({"inputs": [tensor(datatype="UINT8", data=[1])]}, "expecting datatype 'BYTES' but got: 'UINT8'"),
    "no type": ({"inputs": [{"name": "image_bytes", "shape": [1], "data": ["x"]}]}, "but got: None"),
    "another shape": ({"inputs": [tensor(shape=[1, 1], data=["x"])]}, "expecting shape"),
    "no data": ({"inputs": [tensor()]}, "either 'data' or the parameter 'binary_data_size'"),
    "data is text": ({"inputs": [tensor(data="x")]}, "'data' must be a list"),
    "too many": ({"inputs": [tensor(data=["x", "y"])]}, "expecting data of .* but got: "),
    "too few": ({"inputs": [images(data=[1, 2, 3])]}, "expecting data of"),
    "nested otherwise": ({"inputs": [images(data=[[1, 2], [3, 4]])]}, "expecting data of"),
    "ragged": ({"inputs": [images(data=[[[1], [2]], [[3]]])]}, "all lists of one level"),
    "lists in a flat one": ({"inputs": [images(data=[1, [2], 3, 4])]}, "all lists of one level"),
    "text for numbers": ({"inputs": [images(data=["1"] * 4)]}, "not of expected type: float32"),
    "a number for text": ({"inputs": [tensor(data=[1])]}, "the elements of BYTES must be strings"),
    "an object for text": ({"inputs": [tensor(data=[{"b64": "YQ=="}])]}, "the elements of BYTES must be strings"),
    "no base64": ({"inputs": [tensor(data=["%"], parameters={"content_type": "base64"})]}, "Unable to base64 decode"),
    "shared memory": (
        {"inputs": [tensor(parameters={"shared_memory_region": "x"})]},
        "extension that is not supported",
    ),
    "classes": (
        {"inputs": [GOOD], "outputs": [{"name": "scores", "parameters": {"classification": 2}}]},
        "not supported",
    ),
    "nested deeply": (b'{"inputs": ' + b"[" * 101 + b"]" * 101 + b"}", "nested too deeply"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests(name):
    request, problem = MALFORMED[name]
    with pytest.raises(RestError, match=problem) as error:
        parse(request)
    assert error.value.status == 400


@pytest.mark.parametrize("size", [-1, 1.0, "2", None, 3, 10**300, True, [1]])
def test_sizes_of_what_follows_the_json(size):
    with pytest.raises(RestError, match="binary_data_size|expecting 1 elements"):
        parse({"inputs": [tensor(parameters={"binary_data_size": size})]}, b"ab")


@pytest.mark.parametrize("header", ["", "-1", "1e2", "0x10", "1_0", "\u0663", "99999", "9" * 5000, "1, 1"])
def test_a_length_of_the_json_that_is_none(header):
    with pytest.raises(RestError, match="Inference-Header-Content-Length must be a number of bytes up to the body's"):
        parse({"inputs": [GOOD]}, header=header)


def test_bytes_that_belong_to_no_input():
    with pytest.raises(RestError, match="3 bytes behind the JSON belong to no input"):
        parse({"inputs": [GOOD]}, b"abc")
    with pytest.raises(RestError, match="2 bytes are left"):  # the length cuts off what follows from the JSON
        parse({"inputs": [tensor(parameters={"binary_data_size": 4})]}, b"ab")


def test_responses():
    outputs = {"classes": np.array([[b"a\xff", b""]], object), "scores": np.array([[0.125, -2.5]], np.float32)}
    request = parse({"id": "", "inputs": [GOOD]})
    body, size = open_inference.format_infer(request, "m", 3, outputs)
    assert size is None and json.loads(body) == {
        "model_name": "m",
        "model_version": "3",
        "id": "",
        "parameters": {"signature_name": "serving_default"},
        "outputs": [
            {"name": "classes", "shape": [1, 2], "datatype": "BYTES", "data": ["a\ufffd", ""]},
            {"name": "scores", "shape": [1, 2], "datatype": "FP32", "data": [0.125, -2.5]},
        ],
    }
    wanted = [{"name": "scores", "parameters": {"binary_data": True}}, {"name": "classes"}]
    body, size = open_inference.format_infer(parse({"inputs": [GOOD], "outputs": wanted}), "m", 3, outputs)
    described = json.loads(body[:size])
    assert "id" not in described and [one["name"] for one in described["outputs"]] == ["scores", "classes"]
    assert described["outputs"][0]["parameters"] == {"binary_data_size": 8} and "data" not in described["outputs"][0]
    assert body[size:] == b"\0\0\0\x3e\0\0\x20\xc0"
    request = parse({"inputs": [GOOD], "parameters": {"binary_data_output": True}})
    body, size = open_inference.format_infer(request, "m", 3, outputs)
    assert body[size:][:10] == b"\2\0\0\0a\xff\0\0\0\0" and len(body[size:]) == 18


def test_numbers_that_are_none_and_truth_values():
    signature = Signature("s", ENCODED, {"x": (np.float32, (None,)), "b": (np.bool_, (None,))})
    request = open_inference.InferRequest(signature, {}, {"x": False, "b": False})
    outputs = {"x": np.array([np.nan, np.inf], np.float32), "b": np.array([True, False])}
    body, _ = open_inference.format_infer(request, "m", 1, outputs)
    assert b'"data": [NaN, Infinity]' in body and b'"data": [true, false]' in body


def test_descriptions():
    described = open_inference.model_metadata("m", [2, 10], SIGNATURES)
    assert described == {
        "name": "m",
        "versions": ["2", "10"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "classes", "datatype": "BYTES", "shape": [-1, 2]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, 2]},
        ],
    }
    described = open_inference.model_metadata("m", [1], SIGNATURES, "predict_images")
    assert described["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 2, 1]}]
    with pytest.raises(RestError, match="There is no signature 'none'"):
        open_inference.model_metadata("m", [1], SIGNATURES, "none")
    server = open_inference.server_metadata()
    assert server["name"] == "keras_vit" and server["extensions"] == ["binary_tensor_data"]
    assert isinstance(server["version"], str) and json.loads(rest.format_json(server)) == server
