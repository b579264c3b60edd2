"""Paths, bodies and responses of the REST interface, by TF Serving's documentation; no model runs here."""

import base64
import json

import numpy as np
import pytest

from keras_vit.export.devserver import rest
from keras_vit.export.devserver.rest import RestError, Signature, Target

SIGNATURES = {
    "serving_default": Signature("serving_default", {"image_bytes": (bytes, (None,))}, {}),
    "images": Signature("images", {"images": (np.float32, (None, 2, 1))}, {}),
    "two": Signature("two", {"a": (np.int32, (None,)), "b": (bytes, (None, 2))}, {}),
    "flags": Signature("flags", {"f": (np.bool_, (None,))}, {}),
}


def find(name):
    if name not in SIGNATURES:
        raise RestError(400, f'Serving signature name: "{name}" not found in signature def')
    return SIGNATURES[name]


def parse(**request):
    return rest.parse_predict(json.dumps(request).encode(), find)


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


@pytest.mark.parametrize(
    "method, path, target",
    [
        ("POST", "/v1/models/m:predict", Target("predict", "m")),
        ("POST", "/v1/models/m/versions/12:predict", Target("predict", "m", 12)),
        ("POST", "/V1/Models/M/Labels/St%61ble:Predict", Target("predict", "M", None, "Stable")),
        ("POST", "/v1/models/m:classify", Target("classify", "m")),
        ("GET", "/v1/models/a%20b.c-1", Target("status", "a b.c-1")),
        ("GET", "/v1/models/m/versions/0", Target("status", "m", 0)),
        ("GET", f"/v1/models/m/versions/{'0' * 9000}", Target("status", "m", 0)),
        ("GET", f"/v1/models/m/versions/{'0' * 9000}12", Target("status", "m", 12)),
        ("GET", f"/v1/models/m/versions/{2**63 - 1}", Target("status", "m", 2**63 - 1)),
        ("GET", "/v1/models/m/labels/x/metadata", Target("metadata", "m", None, "x")),
        ("GET", "/v1/models/m/metadata", Target("metadata", "m")),
    ],
)
def test_paths(method, path, target):
    assert rest.parse_target(method, path) == target


@pytest.mark.parametrize(
    "method, path, problem",
    [
        ("GET", "/v1/foo", "Malformed request: GET /v1/foo"),
        ("GET", "/v1/models", "Missing model name in request."),
        ("GET", "/v1/models/m:predict", "Malformed"),
        ("POST", "/v1/models/m", "Malformed"),
        ("POST", "/v1/models:predict", "Malformed"),
        ("POST", "/v1/models/m/versions/one:predict", "Malformed"),
        ("POST", "/v1/models/m/versions/1/labels/x:predict", "Malformed"),
        ("POST", f"/v1/models/m/versions/{2**63}:predict", "Failed to convert version: 9223372036854775808 to numeric"),
        ("POST", f"/v1/models/m/versions/{2**64 - 1}:predict", "Failed to convert version"),
        ("GET", f"/v1/models/m/versions/{'9' * 5000}", "Failed to convert version: 9{100}... to numeric"),
        ("GET", f"/v1/models/m/versions/{'9' * 5000}/metadata", "Failed to convert version"),
        ("POST", f"/v1/models/m/versions/{'1' * 10**6}:predict", "Failed to convert version"),
        ("GET", "/v1/models/m/versions/\u0663", "Malformed"),
        ("PUT", "/v1/models/m:predict", "Malformed"),
    ],
)
def test_malformed_paths(method, path, problem):
    with pytest.raises(RestError, match=problem) as error:
        rest.parse_target(method, path)
    assert error.value.status == 400


@pytest.mark.parametrize(
    "request_, row",
    [
        ({"instances": [b64(b"\xff\0"), b64(b"b")]}, True),
        ({"instances": [{"image_bytes": b64(b"\xff\0")}, {"image_bytes": b64(b"b")}]}, True),
        ({"inputs": [b64(b"\xff\0"), "b"]}, False),
        ({"inputs": {"image_bytes": [b64(b"\xff\0"), b64(b"b")], "ignored": 1}, "signature_name": ""}, False),
    ],
)
def test_rows_and_columns_of_bytes(request_, row):
    signature, inputs, is_row = parse(**request_)
    assert (signature.name, is_row) == ("serving_default", row)
    assert inputs["image_bytes"].tolist() == [b"\xff\0", b"b"]


def test_several_inputs():
    expected = {"a": [1, 2], "b": [[b"x", b"y"], [b"z", b"\xc3\xbc"]]}
    rows = [{"a": 1, "b": ["x", "y"]}, {"b": ["z", "ü"], "a": 2}]
    columns = {"a": [1, 2], "b": [["x", "y"], ["z", "ü"]]}
    for request in ({"instances": rows}, {"inputs": columns}):
        _, inputs, _ = parse(signature_name="two", **request)
        assert {name: array.tolist() for name, array in inputs.items()} == expected
        assert inputs["a"].dtype == np.int32


def test_numbers_and_their_special_values():
    _, inputs, _ = parse(signature_name="images", instances=[[[1], [2.5]], [[float("nan")], [float("-inf")]]])
    assert inputs["images"].dtype == np.float32
    np.testing.assert_array_equal(inputs["images"], [[[1], [2.5]], [[np.nan], [-np.inf]]])


def test_base64_with_and_without_padding_and_blanks():
    for text in ("aGVsbG8=", "aGVsbG8", " aGVs\nbG8= "):
        assert parse(instances=[{"b64": text}])[1]["image_bytes"].tolist() == [b"hello"]
    assert parse(instances=[{"b64": ""}])[1]["image_bytes"].tolist() == [b""]
    assert parse(inputs=[])[1]["image_bytes"].shape == (0,)


GOOD = b64(b"x")


@pytest.mark.parametrize(
    "request_, problem",
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [GOOD], "inputs": [GOOD]}, "only one of"),
        ({"instances": GOOD}, "to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [GOOD], "signature_name": 7}, "must be a string value"),
        ({"instances": [GOOD], "signature_name": "none"}, 'signature name: "none" not found'),
        ({"instances": [1.5]}, "1.5 is not of expected type: string"),
        ({"instances": [None]}, "None is not of expected type: string"),
        ({"instances": [[GOOD]]}, r"expecting shape \[\?\] but got: \[1,1\]"),
        ({"instances": [[GOOD], [GOOD, GOOD]]}, r"expecting shape \[\?\] but got: \[2,1\]"),
        ({"instances": [GOOD, [GOOD]]}, "of one size"),
        ({"instances": [{"b64": "abc!"}]}, "Unable to base64 decode: 'abc!'"),
        ({"instances": [{"b64": "aGVsb"}]}, "Unable to base64 decode"),
        ({"instances": [{"b64": "ü"}]}, "Unable to base64 decode"),
        ({"instances": [{"image": GOOD}]}, "keys must be equal to: image_bytes"),
        ({"instances": [{"image_bytes": GOOD, "b": 1}]}, "keys must be equal to"),
        ({"instances": [{"image_bytes": GOOD}, GOOD]}, "Expecting object but got list at item 1"),
        ({"instances": [GOOD, {"image_bytes": GOOD}]}, "Expecting value/list but got object at item 1"),
        ({"instances": [{"image_bytes": {"b64": 1}}]}, "not formatted correctly for base64"),
        ({"inputs": {"image": [GOOD]}}, "Missing named input: image_bytes"),
        ({"inputs": GOOD}, r"expecting shape \[\?\] but got: \[\]"),
        ({"inputs": 1, "signature_name": "two"}, "inputs is a plain value/list"),
        ({"instances": [1], "signature_name": "two"}, "instances is a plain list"),
        ({"instances": [[1, 2]], "signature_name": "images"}, r"expecting shape \[\?,2,1\] but got: \[1,2\]"),
        ({"instances": [[[1], [2]], [[1]]], "signature_name": "images"}, "of one size"),
        ({"instances": [[["1"], [2]]], "signature_name": "images"}, "not of expected type: float32"),
        ({"instances": [[[True], [2]]], "signature_name": "images"}, "not of expected type: float32"),
        ({"instances": [[[None], [2]]], "signature_name": "images"}, "not of expected type: float32"),
        ({"instances": [[[1e40], [2]]], "signature_name": "images"}, "1e[+]40 to float32 without loss"),
        ({"instances": [[[10**400], [2]]], "signature_name": "images"}, "to float32 without loss"),
        ({"instances": [{"a": 1.5, "b": ["", ""]}], "signature_name": "two"}, "not of expected type: int32"),
        ({"instances": [{"a": 2**31, "b": ["", ""]}], "signature_name": "two"}, "2147483648 to int32 without loss"),
        ({"instances": [1], "signature_name": "flags"}, "not of expected type: bool"),
        ({"instances": [[[["x" * 10**6] + ["y"] * 10**4]]], "signature_name": "images"}, r"got: \[1,1,1,10001\]"),
        ({"instances": [[["x" * 10**6], [2]]], "signature_name": "images"}, "not of expected type: float32"),
        ({"instances": ["x", []]}, "of one size"),
        ({"instances": [[[1], [2]], 3], "signature_name": "images"}, "of one size"),
        ({"instances": [[[1], [[2]]]], "signature_name": "images"}, "of one size"),
        ({"inputs": [[[1], [2]], {"a": 1}], "signature_name": "images"}, "of one size"),
    ],
)
def test_malformed_bodies(request_, problem):
    with pytest.raises(RestError, match=problem) as error:
        parse(**request_)
    assert error.value.status == 400 and len(str(error.value)) < 500


@pytest.mark.parametrize(
    "body, problem",
    [
        (b"", "The document is empty"),
        (b"instances = [1, 2]", "JSON Parse error: Invalid value"),
        (b'{"instances": [1, 2', "JSON Parse error: Invalid value"),
        (b"[1]", "Is not object"),
        (b"\xff\xfe\xfd", "JSON Parse error"),
        (b'{"instances": ' + b"9" * 5000 + b"}", "JSON Parse error"),
        (b'{"instances": ' + b"[" * 10**6, "JSON Parse error"),
        (b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}", "JSON Parse error: nested too deeply"),
        (b'{"instances": [1.' + b"1" * 5000 + b"]}", "JSON Parse error: a number of 5002 characters"),
    ],
)
def test_bodies_that_are_not_json(body, problem):
    with pytest.raises(RestError, match=problem) as error:
        rest.parse_predict(body, find)
    assert error.value.status == 400


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("key", ["instances", "inputs"])
@pytest.mark.parametrize("inner", ["", "1", '"x"', '{"b64": ""}', "1, [2]", '[], "x"', "9" * 1000, "-1e-400"])
def test_bodies_of_any_depth_are_read_or_refused(name, key, inner):
    """NumPy has limits of its own below the parser's; none of them shows."""
    for levels in (*range(1, 100, 3), 32, 33, 64, 65, 98, 99, 900):
        body = f'{{"signature_name": "{name}", "{key}": {"[" * levels}{inner}{"]" * levels}}}'
        try:
            rest.parse_predict(body.encode(), find)
        except RestError as error:
            assert error.status == 400 and len(str(error)) < 1500


def test_long_texts_of_clients_are_shortened():
    assert rest.shortened("x" * 100) == "x" * 100 and rest.shortened("x" * 10**6) == "x" * 100 + "..."


def test_responses_with_several_outputs():
    outputs = {
        "classes": np.array([[b"a", b"\xc3\xbc"], [b"", b"\xff"]], object),
        "scores": np.array([[0.7, 1e-9], [1, np.nan]], np.float32),
        "ids": np.array([1, -1], np.int32),
    }
    assert rest.format_predict(outputs, row=True).decode() == (
        '{"predictions": [{"classes": ["a", "ü"], "scores": [0.699999988, 9.99999972e-10], "ids": 1}, '
        '{"classes": ["", "\ufffd"], "scores": [1.0, NaN], "ids": -1}]}\n'
    )
    columns = json.loads(rest.format_predict({"ids": outputs["ids"], "flag": np.array([True, False])}, row=False))
    assert columns == {"outputs": {"ids": [1, -1], "flag": [True, False]}}


def test_responses_with_one_output_leave_out_its_name():
    output = {"x": np.array([[0.5], [np.inf]], np.float32)}
    assert rest.format_predict(output, row=True) == b'{"predictions": [[0.5], [Infinity]]}\n'
    assert rest.format_predict(output, row=False) == b'{"outputs": [[0.5], [Infinity]]}\n'
    assert rest.format_predict({"x": np.zeros((0, 2), np.float32)}, row=False) == b'{"outputs": []}\n'


def test_floats_are_formatted_without_loss():
    numbers = np.random.default_rng(0).integers(0, 2**32, 2000, np.uint32).view(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    back = json.loads(rest.format_predict({"x": numbers}, row=True))["predictions"]
    np.testing.assert_array_equal(np.array(back, np.float32), numbers)


def test_outputs_named_bytes_are_base64():
    output = {"image_bytes": np.array([b"\xff\0"], object), "text": np.array([b"t"], object)}
    assert json.loads(rest.format_predict(output, row=True)) == {
        "predictions": [{"image_bytes": {"b64": "/wA="}, "text": "t"}]
    }
