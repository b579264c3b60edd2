"""TF Serving's REST interface: parsing requests into numpy arrays and formatting responses.

    GET  /v1/models/NAME[/versions/NUMBER | /labels/LABEL]            the states of the versions
    GET  /v1/models/NAME[/versions/NUMBER | /labels/LABEL]/metadata   the signatures
    POST /v1/models/NAME[/versions/NUMBER | /labels/LABEL]:predict    {"instances": ...} or {"inputs": ...}

Paths, formats, status codes and error messages are those of its documentation (tensorflow_serving/g3doc/api_rest.md)
and of release 2.20's own responses. NaN and Infinity are numbers here, in requests and responses.
"""

import base64
import binascii
import itertools
import json
import re
import reprlib
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np

from keras_vit.system import bounded_json
from keras_vit.system.limits import MAX_DIGITS

DEFAULT_SIGNATURE = "serving_default"
PLACE = r"/v1/models(?:/(?P<model>[^/:]+))?(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
POST = re.compile(rf"{PLACE}:(?P<verb>classify|regress|predict)", re.IGNORECASE)
GET = re.compile(rf"{PLACE}(?:/(?P<verb>metadata))?", re.IGNORECASE)
DIGITS = 9  # enough to distinguish any two float32
LARGEST_VERSION = 2**63 - 1
RAGGED = "Encountered list at unexpected size: all lists of one level must be of one size"


class RestError(Exception):
    """An error response: an HTTP status and a message; `grpc_server` says which gRPC status stands for which."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Target:
    """What a request addresses."""

    verb: str  # "predict", "classify", "regress", "metadata" or "status"
    model: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a signature."""

    name: str
    inputs: dict  # name -> (numpy type, or bytes; shape with None for free dimensions)
    outputs: dict  # the same


def parse_target(method, path):
    """The `Target` of an HTTP method and an encoded path; `RestError` for a malformed path."""
    found = {"POST": POST, "GET": GET}.get(method, re.compile("(?!)")).fullmatch(path)
    if found is None or method == "POST" and not found["model"]:
        raise RestError(400, f"Malformed request: {method} {path}")
    if not found["model"]:
        raise RestError(400, "Missing model name in request.")
    version = parse_version(found["version"]) if found["version"] else None
    label = unquote(found["label"]) if found["label"] else None
    return Target((found["verb"] or "status").lower(), unquote(found["model"]), version, label)


def parse_version(text):
    """The number of a version; `RestError` for what is none."""
    digits = text.lstrip("0") or text[-1:]  # first, since `int` takes long for many, and refuses thousands
    if not re.fullmatch("[0-9]+", digits) or len(digits) > MAX_DIGITS or int(digits) > LARGEST_VERSION:
        raise RestError(400, f"Failed to convert version: {shortened(text)} to numeric.")
    return int(digits)


def parse_predict(body, find_signature):
    """Read the body of a predict request.

    Args:
        body: bytes.
        find_signature: name -> `Signature`; raises `RestError` for one that does not exist.

    Returns:
        (`Signature`, {input: array}, whether the request is in row format).

    Raises:
        RestError: if the request is malformed.
    """
    request = parse_object(body)
    name = request.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise RestError(400, "JSON Value not formatted correctly. 'signature_name' key must be a string value.")
    signature = find_signature(name or DEFAULT_SIGNATURE)
    row = "instances" in request
    if row and "inputs" in request:
        raise RestError(400, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if not row and "inputs" not in request:
        raise RestError(400, "Missing 'inputs' or 'instances' key")
    columns = _columns_of_rows(request["instances"], signature) if row else _columns(request["inputs"], signature)
    inputs = {name: _tensor(value, name, *signature.inputs[name]) for name, value in columns.items()}
    return signature, inputs, row


def format_predict(outputs, row):
    """The body of the response: "predictions", one per row, or "outputs"; the name of a single output is left out."""
    columns = {name: _plain(name, array) for name, array in outputs.items()}
    if not row:
        return format_json({"outputs": columns if len(columns) > 1 else next(iter(columns.values()))})
    if len(columns) == 1:
        return format_json({"predictions": next(iter(columns.values()))})
    return format_json({"predictions": [dict(zip(columns, values)) for values in zip(*columns.values())]})


def format_error(message):
    """The body of an error response."""
    return format_json({"error": message})


def format_json(value):
    """A value as a JSON body; what is not valid UTF-8 becomes a question mark."""
    return (json.dumps(value, ensure_ascii=False) + "\n").encode(errors="replace")


def parse_object(body):
    """The JSON object in a body, as a dictionary; `RestError` for anything else."""
    if not body:
        raise RestError(400, "JSON Parse error: The document is empty")
    try:
        request = bounded_json.parse(body)
    except json.JSONDecodeError as error:
        raise RestError(400, f"JSON Parse error: Invalid value. {error.msg} at offset: {error.pos}") from error
    except ValueError as error:  # no UTF-8, or beyond a limit
        raise RestError(400, f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise RestError(400, f"JSON Value: {_brief(request)} Is not object")
    return request


def _columns_of_rows(rows, signature):
    """{input: list of its values} of "instances": a list of values, or of objects that name every input."""
    if not isinstance(rows, list):
        raise RestError(400, "Expecting 'instances' to be an list/array")
    if not rows:
        raise RestError(400, "No values in 'instances' array")
    named = _is_object(rows[0])
    if not named and len(signature.inputs) > 1:
        raise RestError(
            400,
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        )
    for place, row in enumerate(rows):
        if _is_object(row) != named:
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise RestError(400, f"Expecting {expected} but got {got} at item {place} of input list")
        if named and set(row) != set(signature.inputs):
            raise RestError(
                400,
                f"Failed to process element: {place} of 'instances' list. JSON object: {_brief(row)} keys must be "
                f"equal to: {','.join(sorted(signature.inputs))}",
            )
    if not named:
        return {next(iter(signature.inputs)): rows}
    return {name: [row[name] for row in rows] for name in signature.inputs}


def _columns(value, signature):
    """{input: its value} of "inputs": an object that names every input, or the value of the only one."""
    if not _is_object(value):
        if len(signature.inputs) > 1:
            raise RestError(
                400,
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map",
            )
        return {next(iter(signature.inputs)): value}
    for name in signature.inputs:
        if name not in value:
            raise RestError(400, f"Missing named input: {name} in 'inputs' object.")
    return {name: value[name] for name in signature.inputs}


def _is_object(value):
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value):
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def _tensor(value, name, dtype, shape):
    """A JSON value as an array of the signature's type and shape."""
    given = leading_sides(value)
    check_shape(name, given, shape)
    flat = flattened([value], given)
    array = strings(flat) if dtype is bytes else numbers(flat, np.dtype(dtype))
    return array.reshape(given)


def check_shape(name, given, shape):
    """`RestError` unless an input's shape is the signature's, which has None for free dimensions."""
    if len(given) != len(shape) or any(side not in (None, other) for side, other in zip(shape, given)):
        expected = ",".join("?" if side is None else str(side) for side in shape)
        received = shortened(",".join(map(str, given[:100])))
        raise RestError(400, f"Input {shortened(name)}: expecting shape [{expected}] but got: [{received}]")


def leading_sides(value):
    """The sizes of nested lists, by the first of each level; they decide before all others are looked at."""
    sides = []
    while isinstance(value, list):
        sides.append(len(value))
        value = value[0] if value else None
    return sides


def flattened(values, sides):
    """The innermost values of nested lists, all of the same sizes; no list is made for each of theirs."""
    for side in sides:
        if set(map(type, values)) - {list} or set(map(len, values)) - {side}:
            raise RestError(400, RAGGED)
        values = list(itertools.chain.from_iterable(values))
    return values


def strings(values):
    """JSON values, strings or base64 objects, as an array of bytes."""
    decoded = np.empty(len(values), object)
    decoded[:] = [_decoded(value) for value in values]
    return decoded


def _decoded(value):
    """A string or a base64 object as bytes."""
    if isinstance(value, list):
        raise RestError(400, RAGGED)
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    if not _is_base64(value):
        wrong = (
            "not formatted correctly for base64 data" if isinstance(value, dict) else "is not of expected type: string"
        )
        raise RestError(400, f"JSON Value: {_brief(value)} {wrong}")
    return decode_base64(value["b64"])


def decode_base64(encoded):
    """The bytes of a base64 text, in which blanks may stand and the padding may be left out."""
    text = "".join(encoded.split())
    try:
        return base64.b64decode(text if text.endswith("=") else text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RestError(400, f"Unable to base64 decode: {_brief(encoded)}") from error


def numbers(values, dtype):
    """JSON values as an array of a numeric type or bool, without loss."""
    types = {"f": {int, float}, "b": {bool}}.get(dtype.kind, {int})
    found = set(map(type, values))
    if list in found:
        raise RestError(400, RAGGED)
    if not found <= types:
        wrong = next(value for value in values if type(value) not in types)
        raise RestError(400, f"JSON Value: {_brief(wrong)} is not of expected type: {dtype.name}")
    try:
        array = np.array(values, float if dtype.kind == "f" else None)
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
    except OverflowError as error:
        raise RestError(400, f"Cannot convert JSON value to {dtype.name} without loss of precision: {error}") from error
    lost = np.isinf(converted) & np.isfinite(array) if dtype.kind == "f" else converted != array
    if lost.any():
        number = array[lost].flat[0]
        raise RestError(400, f"Cannot convert JSON value: {number} to {dtype.name} without loss of precision.")
    return converted


def _plain(name, array):
    """An output as lists for JSON; bytes are text unless the name ends in _bytes."""
    if array.dtype.kind == "f":
        return np.array(short_floats(array)).reshape(array.shape).tolist()
    if array.dtype.kind != "O":
        return array.tolist()
    if name.endswith("_bytes"):
        texts = [{"b64": base64.b64encode(one).decode()} for one in array.flat]
    else:
        texts = [one.decode(errors="replace") for one in array.flat]
    plain = np.empty(array.size, object)
    plain[:] = texts
    return plain.reshape(array.shape).tolist()


def short_floats(array):
    """The numbers of an array in a flat list, with the digits that a float32 has."""
    return [float(f"{number:.{DIGITS}g}") for number in array.ravel().tolist()]


def shortened(text):
    """A text of a client, shortened for an error message."""
    return text if len(text) <= 100 else f"{text[:100]}..."


def _brief(value):
    """A JSON value, shortened for an error message."""
    return reprlib.repr(value)
