"""`keras-vit serve` asked by the clients of each protocol, each answer against Keras' (`make test-protocols`):

    python -m tests.export.protocols RUN FOLDER PYTHON

RUN is a run of the embedded digits, FOLDER/serving its bundle with all classes. The 360 test digits are asked for by
REST and by TF Serving's own stubs over gRPC in this process, and by Triton's clients in one of PYTHON, see
triton_clients.py. Exit status 1 if a probability differs by more than 1e-5.
"""

import base64
import contextlib
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

import keras_vit
from tests.export import served_digits
from tests.export.served_digits import MODEL


def write(run, folder):
    """Write the run's test digits with Keras' answers."""
    predictor = keras_vit.Predictor.open(run)
    paths = sorted(Path(run, "held_out").glob("*/*.png"))
    images = np.stack([predictor.prepare(path) for path in paths])
    encoded = [path.read_bytes() for path in paths]
    served_digits.write(folder, encoded, images, predictor.predict_prepared(images), predictor.labels)


@contextlib.contextmanager
def served(bundle):
    """(URL, address of gRPC) of `keras-vit serve` in a process of its own."""
    command = [sys.executable, "-m", "keras_vit", "serve", str(bundle), "--port", "0", "--grpc-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline().split() for _ in range(2)]
            assert all(lines), f"`keras-vit serve {bundle}` does not serve."
            yield lines[0][0].rstrip("/"), lines[1][0]
        finally:
            process.terminate()
            process.wait(30)


def predict(stub, signature, name, value):
    """{output: array} of a Predict call."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL, signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return {name: tf.make_ndarray(proto) for name, proto in stub.Predict(request, timeout=60).outputs.items()}


def listed(digits, outputs):
    """The probabilities of classes that are listed by their scores."""
    return digits.of_classes(outputs["classes"].tolist(), outputs["scores"], outputs["class_ids"])


def tf_serving_ways(url, stub, digits):
    """{description: how to ask for one batch's probabilities}."""

    def rest(some):
        instances = [{"b64": base64.b64encode(image).decode()} for image in digits.encoded[some]]
        body = json.dumps({"instances": instances}).encode()
        with urllib.request.urlopen(f"{url}/v1/models/{MODEL}:predict", body, timeout=60) as response:
            rows = json.load(response)["predictions"]
        return listed(digits, {name: np.array([row[name] for row in rows]) for name in rows[0]})

    return {
        "REST: image_bytes": rest,
        "tensorflow-serving-api over gRPC: image_bytes": lambda some: listed(
            digits, predict(stub, "", "image_bytes", digits.encoded[some])
        ),
        "tensorflow-serving-api over gRPC: images": lambda some: predict(
            stub, "predict_images", "images", digits.images[some]
        )["probabilities"],
    }


def check_descriptions(channel, stub):
    """GetModelMetadata and GetModelStatus."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = MODEL
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert stub.GetModelMetadata(request, timeout=60).metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "predict_images"} <= set(signatures.signature_def)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = MODEL
    (state,) = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=60).model_version_status
    assert (state.version, state.State.Name(state.state)) == (1, "AVAILABLE")


def main(run, folder, python):
    write(run, folder)
    digits, triton_clients = served_digits.Digits(folder), Path(__file__).with_name("triton_clients.py")
    with served(Path(folder, "serving")) as (url, address), grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        grpc.channel_ready_future(channel).result(60)
        check_descriptions(channel, stub)
        wrong = digits.compare(tf_serving_ways(url, stub, digits))
        clients = [python, triton_clients, url, address, str(folder)]
        return 1 if subprocess.run(clients, check=False).returncode or wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
