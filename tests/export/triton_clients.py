"""Triton's own clients, HTTP and gRPC, ask `keras-vit serve`, in an environment of their own (`make test-protocols`):

    python triton_clients.py URL GRPC_ADDRESS FOLDER

FOLDER has what `protocols.py` writes: digits.npz, the encoded images, the prepared ones and Keras' probabilities.
Responses in JSON are held against the specification's schemas, the messages of gRPC against those of `tritonclient`.
Needs tritonclient[http,grpc] and jsonschema alone. Exit status 1 if an answer is another than Keras'.
"""

import base64
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

import jsonschema
import numpy as np
import served_digits  # beside this file
import tritonclient.grpc
import tritonclient.http
from google.protobuf import descriptor_pb2, text_format
from tritonclient.grpc import service_pb2

MODEL = served_digits.MODEL
DESCRIPTION = Path(__file__).parents[2] / "export/devserver/data/open_inference.textproto"
SCHEMAS = json.loads(Path(__file__).with_name("open_inference.schema.json").read_text())


def by_client(library, client, digits, binary):
    """How `tritonclient.http` or `.grpc` asks for one batch of encoded images, and of prepared ones."""
    options = {} if library is tritonclient.grpc else {"binary_data": binary}

    def infer(name, array, kind, outputs):
        given = library.InferInput(name, list(array.shape), kind)
        given.set_data_from_numpy(array, **options)
        wanted = [library.InferRequestedOutput(output, **options) for output in outputs]
        result = client.infer(MODEL, [given], outputs=wanted, request_id="7")
        response = result.get_response()
        assert (response["id"] if isinstance(response, dict) else response.id) == "7"
        return [result.as_numpy(output) for output in outputs]

    def encoded(some):
        array = np.empty(len(digits.encoded[some]), object)
        array[:] = digits.encoded[some]
        return digits.of_classes(*infer("image_bytes", array, "BYTES", ("classes", "scores", "class_ids")))

    def prepared(some):
        return infer("images", digits.images[some], "FP32", ("probabilities",))[0]

    return encoded, prepared


def without_a_choice(client, digits):
    """As tritonclient.http asks when no outputs are named: all of them, behind the JSON."""

    def encoded(some):
        array = np.empty(len(digits.encoded[some]), object)
        array[:] = digits.encoded[some]
        given = tritonclient.http.InferInput("image_bytes", list(array.shape), "BYTES")
        given.set_data_from_numpy(array)
        result = client.infer(MODEL, [given], model_version="1")
        return digits.of_classes(*map(result.as_numpy, ("classes", "scores", "class_ids")))

    return encoded


def by_json(url, digits):
    """Plain JSON, held against the specification's schemas."""

    def encoded(some):
        data = [base64.b64encode(image).decode() for image in digits.encoded[some]]
        one = {"name": "image_bytes", "shape": [len(data)], "datatype": "BYTES", "data": data}
        request = {"id": "7", "inputs": [{**one, "parameters": {"content_type": "base64"}}]}
        valid(request, "inference_request")
        response = asked(f"{url}/v2/models/{MODEL}/infer", request)
        valid(response, "inference_response")
        outputs = {one["name"]: np.reshape(one["data"], one["shape"]) for one in response["outputs"]}
        return digits.of_classes(outputs["classes"].tolist(), outputs["scores"], outputs["class_ids"])

    return encoded


def asked(url, request=None):
    body = None if request is None else json.dumps(request).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as response:
        return json.load(response)


def valid(value, schema):
    jsonschema.validate(value, {**SCHEMAS, "$ref": f"#/$defs/{schema}"})


def check_descriptions(url, http, grpc):
    """Metadata and health, by both clients and by the schemas; errors by the schemas."""
    valid(asked(f"{url}/v2"), "metadata_server_response")
    for path in (f"{url}/v2/models/{MODEL}", f"{url}/v2/models/{MODEL}/versions/1"):
        valid(asked(path), "metadata_model_response")
    for client in (http, grpc):
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "1")
    described = http.get_model_metadata(MODEL)
    assert [one["name"] for one in described["inputs"]] == ["image_bytes"]
    assert [one.name for one in grpc.get_model_metadata(MODEL).inputs] == ["image_bytes"]
    assert http.get_server_metadata()["name"] == grpc.get_server_metadata().name == "keras_vit"
    chosen = http.get_model_metadata(MODEL, query_params={"signature_name": "predict_images"})
    assert [one["name"] for one in chosen["inputs"]] == ["images"]
    one = {"name": "image_bytes", "shape": [1], "datatype": "UINT8", "data": [1]}
    for path, request in (("none", None), (f"{MODEL}/infer", {"inputs": [one]}), (f"{MODEL}/infer", {})):
        try:
            asked(f"{url}/v2/models/{path}", request)
        except urllib.error.HTTPError as error:
            assert error.code in (400, 404)
            valid(json.load(error), "error")
        else:
            raise AssertionError(f"{path} {request} has an answer")


def check_messages():
    """Our description of gRPC's messages against that of `tritonclient`: names, numbers and types of all fields."""
    ours = text_format.Parse(DESCRIPTION.read_text(), descriptor_pb2.FileDescriptorProto())
    theirs = descriptor_pb2.FileDescriptorProto.FromString(service_pb2.DESCRIPTOR.serialized_pb)
    known = dict(fields(theirs.message_type))
    count = 0
    for name, here in fields(ours.message_type):
        there = known[name]
        assert set(here) <= set(there), (name, set(here) - set(there))
        count += len(here)
    print(f"{count} fields of {len(dict(fields(ours.message_type)))} messages of gRPC are those of tritonclient")


def fields(messages, path=""):
    """(name, its fields) of messages and of those within them."""
    for one in messages:
        yield path + one.name, {
            (field.name, field.number, field.label == 3, field.type, field.type_name.rpartition(".")[2])
            for field in one.field
        }
        yield from fields(one.nested_type, f"{path}{one.name}.")


def main(url, grpc_address, folder):
    digits = served_digits.Digits(folder)
    check_messages()
    with tritonclient.http.InferenceServerClient(url.removeprefix("http://")) as http:
        with tritonclient.grpc.InferenceServerClient(grpc_address) as grpc:
            check_descriptions(url, http, grpc)
            encoded, prepared = by_client(tritonclient.http, http, digits, binary=True)
            of_grpc = by_client(tritonclient.grpc, grpc, digits, binary=True)
            ways = {
                "tritonclient.http, behind JSON: image_bytes": encoded,
                "tritonclient.http, behind JSON: image_bytes, all outputs": without_a_choice(http, digits),
                "tritonclient.http, behind JSON: images": prepared,
                "tritonclient.http, JSON: images": by_client(tritonclient.http, http, digits, binary=False)[1],
                "JSON by the schemas: image_bytes as base64": by_json(url, digits),
                "tritonclient.grpc: image_bytes": of_grpc[0],
                "tritonclient.grpc: images": of_grpc[1],
            }
            return digits.compare(ways)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
