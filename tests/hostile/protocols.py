"""Hostile requests of the Open Inference Protocol and of gRPC, as Hypothesis strategies, beside those of `requests`."""

import base64
import json
import struct
from dataclasses import dataclass

import tensorflow as tf
from hypothesis import strategies
from hypothesis.strategies import integers, sampled_from
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from keras_vit.export.devserver.inference_service import message
from tests.hostile.mutations import mutated
from tests.hostile.requests import ENDS, FIELDS, SIZES, VALUES, Exchange, with_length

INFER = b"POST /v2/models/toys/infer HTTP/1.1\r\nHost: x\r\n"
HEADER = b"Inference-Header-Content-Length: "
PREDICT, INFERENCE = "/tensorflow.serving.PredictionService/", "/inference.GRPCInferenceService/"
METHODS = (
    *(
        f"{PREDICT}{name}"
        for name in ("Predict", "Predict", "GetModelMetadata", "Classify", "Regress", "MultiInference")
    ),
    *(f"{INFERENCE}{name}" for name in ("ModelInfer", "ModelInfer", "ModelReady", "ModelMetadata", "ServerLive")),
    *("/tensorflow.serving.ModelService/GetModelStatus", "/tensorflow.serving.ModelService/HandleReloadConfigRequest"),
    *(f"{INFERENCE}ModelStreamInfer", "/x", "/x/y/z", "//"),
)
NAMES = sampled_from(["image_bytes", "images", "image_bytes", "images", "", "x", "a" * 70_000, "\u00e9\0"])
SIDES = sampled_from([0, 1, 1, 2, 3, 16, 24, -1, 33, 2**20, 2**31 - 1, 2**31, 2**62])


def infer(document, behind=b"", header=None):
    """A request for inference, with the length of its JSON if something follows it, or as `header` has it."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    header = str(len(content)).encode() if header is None and behind else header
    return with_length(content + behind, INFER + (HEADER + header + b"\r\n" if header is not None else b""))


def infer_images(images, binary=True):
    """A valid request for images, behind the JSON or in it as base64."""
    one = {"name": "image_bytes", "shape": [len(images)], "datatype": "BYTES"}
    if binary:
        behind = b"".join(struct.pack("<I", len(image)) + image for image in images)
        return infer({"inputs": [{**one, "parameters": {"binary_data_size": len(behind)}}]}, behind)
    data = [base64.b64encode(image).decode() for image in images]
    return infer({"inputs": [{**one, "data": data, "parameters": {"content_type": "base64"}}]})


@strategies.composite
def documents(draw):
    """JSON for a request for inference, and what looks like it, with bytes behind it."""
    name, kind = draw(NAMES), draw(sampled_from(["BYTES", "FP32", "UINT8", "", "FP16"]))
    shape = draw(strategies.lists(SIDES, max_size=5).map(json.dumps) | VALUES)
    behind = draw(sampled_from([b"", b"", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0\0\0a" * 40, b"a" * 4608]))
    size = draw(sampled_from([str(len(behind)), str(len(behind)), "0", "-1", "1e9", "99999", "null", '"4"', "[1]"]))
    data = draw(sampled_from(['"data": ' + draw(VALUES), '"data": [' + draw(VALUES) + "]", '"parameters": {"x": 1}']))
    held = draw(sampled_from([data, f'"parameters": {{"binary_data_size": {size}}}', data + ', "data": []']))
    one = f'{{"name": {json.dumps(name)}, "datatype": "{kind}", "shape": {shape}, {held}}}'
    more = draw(sampled_from(["", "", ', "id": ' + draw(VALUES), ', "outputs": ' + draw(VALUES), ', "parameters": {}']))
    more += draw(sampled_from(["", ', "parameters": {"signature_name": ' + draw(VALUES) + "}"]))
    text = f'{{"inputs": [{one}{draw(sampled_from(["", ", " + one]))}]{more}}}'.encode(errors="surrogatepass")
    header = draw(sampled_from([None, None, None, b"0", b"9" * 5000, b"-1", b"\xb2", b"5", b""]))
    return infer(text, behind, header)


@strategies.composite
def paths(draw):
    """Requests for models, versions and endpoints that nobody has."""
    digits = draw(sampled_from(["0", "1", "9", "-1", "v1", "%31"])) * draw(SIZES)
    text = draw(strategies.text(sampled_from("%0a/:.?#\\\u00e9=&toys1v2 "), max_size=20))
    path = draw(
        sampled_from(
            [f"/v2/models/toys/versions/{digits}", f"/v2/models/toys/versions/{digits}/infer", f"/v2/models/{text}"]
            + [f"/v2/{text}", f"/v2{text}", f"/v2/models/{text}/infer", f"/v2/models/toys?signature_name={text}"]
            + ["/v2/models/toys/ready", "/v2/health/ready", "/v2/repository/index", "/v2/models/toys/config"]
        )
    )
    method = draw(sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "X"]))
    extra = draw(sampled_from([b"", b"", *[field + b"\r\n" for field in (b"Accept: x", HEADER + b"3")]]))
    return with_length(
        draw(sampled_from([b"", b"{}", b"abc"])), f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode() + extra
    )


def exchanges(images):
    """Hostile exchanges of the Open Inference Protocol over HTTP, around images that are valid."""
    valid = [infer_images(images[:2]), infer_images(images[:1], binary=False), b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n"]
    damaged = strategies.lists(mutated(images), min_size=1, max_size=3).map(infer_images)
    odd = FIELDS.map(lambda field: INFER + field + b"\r\n" + valid[0].partition(b"\r\nHost: x\r\n")[2])
    one = documents() | documents() | paths() | damaged | mutated(valid) | odd
    several = strategies.lists(one | sampled_from(valid), min_size=2, max_size=3).map(b"".join)
    return strategies.builds(Exchange, one | one | one | several, sampled_from(ENDS))


@dataclass(frozen=True)
class Call:
    """A call over gRPC: answered, cancelled at once, or with a message that never comes."""

    method: str
    content: bytes
    end: str = "wait"  # "cancel", "hang"


@strategies.composite
def tensor_protos(draw):
    """A TensorProto of any type and shape, whose elements may be others."""
    proto = tf.make_tensor_proto(draw(sampled_from([[b"x"], [1.0], [[[[1.0] * 3] * 24] * 16], [1], [True]])))
    if draw(strategies.booleans()):
        proto.dtype = draw(sampled_from([0, 1, 2, 3, 7, 10, 19, 20, 21, 101, 9999]))
    if draw(strategies.booleans()):
        del proto.tensor_shape.dim[:]
        for side in draw(strategies.lists(SIDES, max_size=5)):
            proto.tensor_shape.dim.add(size=side)
    if draw(integers(0, 4)) == 0:
        proto.tensor_content = draw(strategies.binary(max_size=20))
    proto.tensor_shape.unknown_rank = draw(integers(0, 9)) == 0
    return proto


@strategies.composite
def predict_requests(draw):
    """A PredictRequest for what nobody has."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = draw(sampled_from(["toys", "toys", "toys", "", "x", "a" * 70_000]))
    request.model_spec.signature_name = draw(sampled_from(["", "predict_images", "features", "none", "a" * 70_000]))
    if draw(integers(0, 3)) == 0:
        request.model_spec.version.value = draw(sampled_from([0, 1, -1, 2**63 - 1]))
    elif draw(integers(0, 9)) == 0:
        request.model_spec.version_label = draw(sampled_from(["stable", "a" * 70_000]))
    for name in draw(strategies.lists(NAMES, max_size=3)):
        request.inputs[name].CopyFrom(draw(tensor_protos()))
    request.output_filter.extend(draw(strategies.lists(sampled_from(["scores", "scores", "x" * 5000]), max_size=2)))
    return request.SerializeToString()


@strategies.composite
def infer_requests(draw):
    """A ModelInferRequest for what nobody has."""
    request = message("ModelInferRequest")(model_name=draw(sampled_from(["toys", "toys", "", "x"])))
    request.model_version = draw(sampled_from(["", "", "1", "0" * 5000, "9" * 5000, "v1", "-1"]))
    for name in draw(strategies.lists(NAMES, max_size=3)):
        one = request.inputs.add(name=name, datatype=draw(sampled_from(["BYTES", "FP32", "FP16", "", "X" * 5000])))
        one.shape.extend(draw(strategies.lists(SIDES, max_size=5)))
        one.contents.bytes_contents.extend(draw(strategies.lists(strategies.binary(max_size=9), max_size=3)))
        one.contents.fp32_contents.extend([0.5] * draw(sampled_from([0, 1, 1152, 99])))
    raw = sampled_from([b"", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0" * 4608])
    request.raw_input_contents.extend(draw(strategies.lists(raw, max_size=3)))
    for name in draw(strategies.lists(sampled_from(["scores", "embedding", "probabilities", "x"]), max_size=2)):
        request.outputs.add(name=name)
    if draw(integers(0, 4)) == 0:
        request.parameters["signature_name"].string_param = draw(sampled_from(["", "features", "x" * 70_000]))
    return request.SerializeToString()


def valid_messages(images):
    """(method, message) of calls that are answered."""
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = "toys"
    predict.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images[:2]))
    one = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": images[:1]}}
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    status, classify = get_model_status_pb2.GetModelStatusRequest(), classification_pb2.ClassificationRequest()
    for request in (metadata, status, classify):
        request.model_spec.name = "toys"
    infer = message("ModelInferRequest")(model_name="toys", inputs=[one])
    return [request.SerializeToString() for request in (predict, infer, metadata, status, classify)]


def calls(images):
    """Hostile calls over gRPC, around images that are valid."""
    valid = valid_messages(images)
    crafted = predict_requests().map(lambda content: Call(f"{PREDICT}Predict", content))
    crafted |= infer_requests().map(lambda content: Call(f"{INFERENCE}ModelInfer", content))
    contents = mutated(valid) | sampled_from(valid) | strategies.binary(max_size=300)
    ends = sampled_from(["wait", "wait", "wait", "wait", "cancel", "hang"])
    return crafted | strategies.builds(Call, sampled_from(METHODS), contents, ends)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING = b"\0\0\0\4\0\0\0\0\0", b"\0\0\x08\6\0\0\0\0\0" + b"x" * 8
HEADERS = b"\0\0\1\1\4\0\0\0\1\x82"  # a request without what a request must have
DATA = b"\0\0\5\0\1\0\0\0\1\0\0\0\0\0"


def connections():
    """Bytes that are sent to the port of gRPC: frames of HTTP/2, changed, and what is none."""
    valid = [PREFACE + SETTINGS + PING, PREFACE + SETTINGS + HEADERS + DATA, PREFACE + SETTINGS + DATA * 50]
    sent = (
        mutated(valid) | strategies.binary(max_size=300) | sampled_from([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PREFACE])
    )
    return strategies.builds(Exchange, sent, sampled_from(ENDS))
