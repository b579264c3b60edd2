"""The Open Inference Protocol (v2) over HTTP: parsing requests into numpy arrays and formatting responses.

    GET  /v2   /v2/health/live   /v2/health/ready         the server: its name, and whether it can answer
    GET  /v2/models/NAME[/versions/NUMBER][/ready]        a model's inputs and outputs, and whether it can answer
    POST /v2/models/NAME[/versions/NUMBER]/infer          tensors in, tensors out

Paths and formats are those of its specification (kserve/open-inference-protocol, inference_rest.md) and of Triton's
binary tensor data extension, by which `tritonclient.http` sends tensors behind the JSON. Elements of BYTES in JSON are
text; where an input has the parameter "content_type": "base64", as MLServer has it, they are base64.

A model of the protocol has one signature and a model here several: `choose_signature` says which one answers.
"""

import json
import math
import re
import reprlib
from dataclasses import dataclass
from importlib import metadata
from urllib.parse import unquote

import numpy as np

from keras_vit.export.devserver import rest, tensors
from keras_vit.export.devserver.rest import DEFAULT_SIGNATURE, RestError, Signature, shortened
from keras_vit.system.limits import MAX_DIGITS
from keras_vit.system.name_clash import OURS

NAME, PLATFORM = "keras_vit", "tensorflow_savedmodel"
EXTENSIONS = ("binary_tensor_data",)
HEADER = "Inference-Header-Content-Length"  # bytes of the JSON, where tensors follow it
PREFERRED = (DEFAULT_SIGNATURE, "predict_images")  # of signatures with the same inputs
VERBS = {None: "server", "live": "live", "ready": "ready"}
PATH = re.compile(r"/v2(?:/?|/health/(?P<health>live|ready)|/models/(?P<model>[^/]+)(?P<rest>/.*)?)", re.DOTALL)
MODEL = re.compile(r"(?:/versions/(?P<version>[^/]+))?(?:/(?P<verb>ready|infer))?")
UNSUPPORTED = ("classification", "shared_memory_region")  # parameters of extensions that would change the result


@dataclass(frozen=True)
class Target:
    """What a request addresses."""

    verb: str  # "server", "live", "ready", "metadata", "model ready" or "infer"
    model: str = ""
    version: int | None = None


@dataclass(frozen=True)
class InferRequest:
    """A request for inference."""

    signature: Signature
    inputs: dict  # name -> array
    outputs: dict  # name -> whether as bytes behind the JSON
    id: str | None = None


def parse_target(method, path):
    """The `Target` of an HTTP method and an encoded path; `RestError` for what the protocol does not have."""
    found = PATH.fullmatch(path)
    of_model = MODEL.fullmatch(found["rest"] or "") if found else None
    if of_model is None:
        raise RestError(404, f"Not found: {method} {shortened(path)}")
    if not found["model"]:
        target = Target(VERBS[found["health"]])
    else:
        verb = {None: "metadata", "ready": "model ready"}.get(of_model["verb"], of_model["verb"])
        target = Target(verb, unquote(found["model"]), parse_version(of_model["version"] or ""))
    if method != ("POST" if target.verb == "infer" else "GET"):
        raise RestError(405, f"Method not allowed: {method} {shortened(path)}")
    return target


def parse_version(text):
    """The number of a version, None for ""; `RestError` for what is none."""
    return rest.parse_version(text) if text else None


def choose_signature(signatures, inputs, outputs=(), name=None):
    """The signature that answers.

    Args:
        signatures: {name: `Signature`} of a version.
        inputs: names of the request's inputs.
        outputs: names of the outputs that it wants; () for all.
        name: of the signature, if the request has it.

    Returns:
        The one with these inputs that has these outputs; of several, serving_default, then predict_images, then the
        first by name.

    Raises:
        RestError: if there is none.
    """
    considered = _by_preference(signatures, name)
    for signature in considered:
        if set(signature.inputs) == set(inputs) and set(outputs) <= set(signature.outputs):
            return signature
    wanted = f"the inputs {_listed(inputs)}" + (f" and the outputs {_listed(outputs)}" if outputs else "")
    present = "; ".join(f"{one.name}: {_listed(one.inputs)} to {_listed(one.outputs)}" for one in considered)
    raise RestError(400, f"No signature has {wanted}. There is {present}.")


def _by_preference(signatures, name=None):
    """The signatures in the order in which they are considered, or only that of a name."""
    if name is None:
        order = {preferred: place for place, preferred in enumerate(PREFERRED)}
        return sorted(signatures.values(), key=lambda one: (order.get(one.name, len(order)), one.name))
    if not isinstance(name, str) or name not in signatures:
        raise RestError(400, f"There is no signature {reprlib.repr(name)}; there are: {', '.join(signatures)}.")
    return [signatures[name]]


def parse_infer(body, header, signatures):
    """Read the body of a request for inference.

    Args:
        body: bytes.
        header: the value of HEADER, or None.
        signatures: {name: `Signature`} of the version that is to answer.

    Returns:
        An `InferRequest`.

    Raises:
        RestError: if the request is malformed.
    """
    size = _json_size(header, len(body))
    request = rest.parse_object(body[:size])
    parameters, identity = _parameters(request), request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise RestError(400, "'id' must be a string.")
    given, wanted = _by_name(request, "inputs"), _by_name(request, "outputs") if "outputs" in request else {}
    signature = choose_signature(signatures, given, wanted, parameters.get("signature_name"))
    behind = Behind(memoryview(body)[size:])
    inputs = {name: _input(name, one, behind, *signature.inputs[name]) for name, one in given.items()}
    behind.check_end()
    as_bytes = _flag(parameters, "binary_data_output", False)
    outputs = {name: _flag(_parameters(one), "binary_data", as_bytes) for name, one in wanted.items()}
    return InferRequest(signature, inputs, outputs or dict.fromkeys(signature.outputs, as_bytes), identity)


class Behind:
    """The bytes behind the JSON, which tensors take in their order."""

    def __init__(self, content):
        self._content, self._place = content, 0

    def take(self, size):
        """The next `size` bytes; `RestError` if there are not so many."""
        if type(size) is not int or not 0 <= size <= len(self._content) - self._place:
            left = len(self._content) - self._place
            raise RestError(400, f"'binary_data_size' is {reprlib.repr(size)}, but {left} bytes are left.")
        self._place += size
        return self._content[self._place - size : self._place]

    def check_end(self):
        """`RestError` if bytes are left over."""
        if self._place != len(self._content):
            raise RestError(400, f"{len(self._content) - self._place} bytes behind the JSON belong to no input.")


def format_infer(request, model, version, outputs):
    """The response to an `InferRequest`.

    Args:
        request: the `InferRequest`.
        model: the model's name.
        version: its number.
        outputs: {name: array} of the signature.

    Returns:
        (body, bytes of the JSON in it, or None if nothing follows).
    """
    described, behind = [], []
    for name, as_bytes in request.outputs.items():
        array = outputs[name]
        kind = tensors.datatype(bytes if array.dtype.kind == "O" else array.dtype)
        one = {"name": name, "shape": list(array.shape), "datatype": kind}
        if as_bytes:
            behind.append(tensors.to_bytes(array))
            one["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            one["data"] = _plain(array)
        described.append(one)
    response = {"model_name": model, "model_version": str(version)}
    response |= {} if request.id is None else {"id": request.id}
    response |= {"parameters": {"signature_name": request.signature.name}, "outputs": described}
    if not behind:
        return rest.format_json(response), None
    start = rest.format_json(response)
    return b"".join([start, *behind]), len(start)


def server_metadata():
    """The JSON value that describes the server."""
    return {"name": NAME, "version": version_of_library(), "extensions": list(EXTENSIONS)}


def version_of_library():
    """The version of this library, or "unknown" where it is not installed."""
    try:
        return metadata.version(OURS)
    except metadata.PackageNotFoundError:
        return "unknown"


def model_metadata(model, versions, signatures, name=None):
    """The JSON value that describes a model: the signature of that name, or the one that is preferred."""
    signature = _by_preference(signatures, name)[0]
    inputs, outputs = tensors.described(signature.inputs), tensors.described(signature.outputs)
    numbers = [str(number) for number in versions]
    return {"name": model, "versions": numbers, "platform": PLATFORM, "inputs": inputs, "outputs": outputs}


def _json_size(header, size):
    """Bytes of the JSON at the start of a body of `size` bytes."""
    if header is None:
        return size
    digits = header.strip()
    if not re.fullmatch(f"[0-9]{{1,{MAX_DIGITS}}}", digits) or int(digits) > size:
        raise RestError(400, f"{HEADER} must be a number of bytes up to the body's {size}. Got: {shortened(header)}")
    return int(digits)


def _parameters(value):
    parameters = value.get("parameters", {})
    if not isinstance(parameters, dict):
        raise RestError(400, "'parameters' must be an object.")
    for name in UNSUPPORTED:
        if name in parameters:
            raise RestError(400, f"The parameter {name!r} is that of an extension that is not supported here.")
    return parameters


def _flag(parameters, name, default):
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RestError(400, f"The parameter {name!r} must be true or false.")
    return value


def _by_name(request, key):
    """{name: object} of "inputs" or "outputs"."""
    listed = request.get(key)
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise RestError(400, f"{key!r} must be a list of objects.")
    names = [one.get("name") for one in listed]
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise RestError(400, f"Each of {key!r} must have a 'name', a string that no other has.")
    return dict(zip(names, listed))


def _input(name, one, behind, dtype, shape):
    """An input as an array of the signature's type and shape."""
    parameters = _parameters(one)
    tensors.check_datatype(name, one.get("datatype"), dtype)
    given = tensors.checked_shape(name, one.get("shape"), shape)
    if ("binary_data_size" in parameters) == ("data" in one):
        raise RestError(400, f"Input {shortened(name)} must have either 'data' or the parameter 'binary_data_size'.")
    if "data" not in one:
        return tensors.from_bytes(name, behind.take(parameters["binary_data_size"]), dtype, given)
    values = _values(name, one["data"], given)
    if dtype is not bytes:
        return rest.numbers(values, np.dtype(dtype)).reshape(given)
    if not all(isinstance(value, str) for value in values):
        raise RestError(400, f"Input {shortened(name)}: the elements of BYTES must be strings.")
    if parameters.get("content_type") == "base64":
        values = [{"b64": value} for value in values]
    return rest.strings(values).reshape(given)


def _values(name, data, shape):
    """The elements of "data", which may be nested as the shape is, or flat."""
    if not isinstance(data, list):
        raise RestError(400, f"Input {shortened(name)}: 'data' must be a list.")
    sides = rest.leading_sides(data)
    if sides not in ([math.prod(shape)], list(shape)):
        expected = f"{list(shape)}, or {math.prod(shape)} elements in a list"
        raise RestError(400, f"Input {shortened(name)}: expecting data of {expected} but got: {shortened(str(sides))}")
    return rest.flattened([data], sides)


def _plain(array):
    """The elements of an output in a flat list for JSON; bytes are text."""
    if array.dtype.kind == "f":
        return rest.short_floats(array)
    if array.dtype.kind != "O":
        return array.ravel().tolist()
    return [element.decode(errors="replace") for element in array.flat]


def _listed(names):
    return shortened(json.dumps(list(names)))
