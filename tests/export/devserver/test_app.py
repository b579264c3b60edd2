"""A real server over loopback, with many requests at once.

The development server runs in a process that cannot import Keras; where `tensorflow_model_server` is on the PATH, TF
Serving itself gets the same requests.
"""

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_vit.export.devserver.app import serve
from keras_vit.export.devserver.engine import IN_FLIGHT, MEGABYTE
from keras_vit.export.devserver.inference_service import message
from keras_vit.export.serving import client
from tests.export.running import Running, start_ours
from tests.export.storm import GREY, MALFORMED, PREDICT, Storm, b64, huge_png

TF_SERVING = shutil.which("tensorflow_model_server")
SERVERS = ["keras-vit serve", *(["tensorflow_model_server"] if TF_SERVING else [])]


def start_tf_serving(bundle, log):
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, grpc_port = free.getsockname()[1], other.getsockname()[1]
    local = Path(log.name).with_name("models.config")
    local.write_text((bundle / "models.config").read_text().replace('"/models/', f'"{bundle}/models/'))
    command = [
        TF_SERVING,
        f"--port={grpc_port}",
        f"--rest_api_port={port}",
        f"--model_config_file={local}",
        "--enable_batching",
    ]
    command += [f"--batching_parameters_file={bundle}/batching.config"]
    command += [f"--monitoring_config_file={bundle}/monitoring.config"]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    running = Running(f"http://127.0.0.1:{port}", bundle, process, ours=False, grpc=f"127.0.0.1:{grpc_port}")
    client.Server(running.url, 60).wait(["toys"], 60)
    return running


@pytest.fixture(scope="module", params=SERVERS)
def running(request, exported, tmp_path_factory):
    """A server of the toys' bundle, moved elsewhere; it does not change the folder."""
    place = tmp_path_factory.mktemp("another place")
    bundle = Path(shutil.copytree(exported[0], place / "moved"))
    before = contents(bundle)
    with open(place / "log", "w") as log:
        ours = request.param == "keras-vit serve"
        running = start_ours(bundle, log, grace=0.5) if ours else start_tf_serving(bundle, log)
        yield running
        hanging = [hang(running, content) for content in (b"", b"POST", UNFINISHED, UNFINISHED + b"{")] if ours else []
        running.process.terminate()
        assert running.process.wait(15) in (0, -signal.SIGTERM)
        for connection in hanging:
            connection.close()
    assert contents(bundle) == before


UNFINISHED = b"POST /v1/models/toys:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"


def hang(running, content=b""):
    """A connection that has sent this much."""
    host, port = running.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(content)
    return connection


def contents(folder):
    """Everything in a folder and when it was written; folders themselves change as versions come and go."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def stored(exported):
    """(bytes of an image, its stored result) of every example."""
    results = json.loads((exported[0] / "expected/toys/1.json").read_text())["answers"]
    return [((exported[0] / "examples/toys/1" / name).read_bytes(), result) for name, result in sorted(results.items())]


NOT_A_NUMBER = [[[float("nan")] * 3] * 24] * 16


@pytest.mark.slow  # export/serving/test_client has it
def test_the_bundles_client_checks_it(running):
    command = [sys.executable, "-I", str(running.bundle / "client.py"), "--url", running.url]
    done = subprocess.run([*command, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "toys version 1: 5 images, 0 wrong\n"), done.stderr
    done = subprocess.run([*command, str(running.bundle / "examples/toys/1/00.png")], capture_output=True, text=True)
    assert done.returncode == 0 and "%" in done.stdout, done.stderr


def test_rows_and_columns(running, stored):
    images, results = zip(*stored)
    rows = {"instances": [b64(image) for image in images]}
    named = {"instances": [{"image_bytes": b64(image)} for image in images], "signature_name": "serving_default"}
    for body in (rows, named):
        status, response = running.send(PREDICT, body)
        assert status == 200 and set(response) == {"predictions"}
        assert all(client.alike(one, expected, 1e-4) for one, expected in zip(response["predictions"], results))
    listed, by_name = ({"inputs": rows["instances"]}, {"inputs": {"image_bytes": rows["instances"]}})
    for body in (listed, by_name):
        status, response = running.send("/v1/models/toys/versions/1:predict", body)
        assert status == 200 and set(response["outputs"]) == {"classes", "scores", "class_ids"}
        for place, expected in enumerate(results):
            assert client.alike({name: values[place] for name, values in response["outputs"].items()}, expected, 1e-4)


def test_a_single_output_has_no_name_in_the_response(running, stored):
    body = {"signature_name": "predict_images", "instances": [GREY, GREY]}
    status, response = running.send(PREDICT, body)
    assert status == 200 and np.shape(response["predictions"]) == (2, 6)
    np.testing.assert_allclose(np.sum(response["predictions"], 1), 1, atol=1e-5)
    body = {"signature_name": "features", "inputs": [b64(stored[0][0]), b64(b"no image")]}
    status, response = running.send(PREDICT, body)
    assert status == 200 and np.shape(response["outputs"]) == (2, 64)
    assert np.abs(response["outputs"][0]).max() > 0 and not np.any(response["outputs"][1])


def test_what_is_not_an_image_does_not_affect_the_others(running, stored):
    image, expected = stored[0]
    others = [b"", b"no image", image[:200], huge_png(), b"GIF89a"]
    body = {"instances": [b64(image), *map(b64, others), "text", b64(image)]}
    status, response = running.send(PREDICT, body)
    assert status == 200
    first, *bad, last = response["predictions"]
    assert client.alike(first, expected, 1e-4) and client.alike(last, expected, 1e-4)
    assert bad == [{"classes": [""] * 3, "scores": [0.0] * 3, "class_ids": [-1] * 3}] * 6


def test_nan_is_accepted_as_a_number(running):
    """As documented: inputs and outputs may be NaN; the others of the batch are not affected."""
    body = {"signature_name": "predict_images", "instances": [GREY, NOT_A_NUMBER, GREY]}
    status, response = running.send(PREDICT, body)
    first, second, third = response["predictions"]
    assert status == 200 and first == third and np.isnan(second).all() and not np.isnan(first).any()


def as_rows(outputs):
    """One {name: list} per image of {name: array of all}; what is bytes becomes text."""
    text = {name: np.vectorize(lambda b: b.decode(), otypes="O")(a) if a.dtype == object else a for name, a in outputs}
    return [{name: a[row].tolist() for name, a in text.items()} for row in range(len(next(iter(text.values()))))]


def test_open_inference_protocol(running, stored):
    """As JSON and with tensors behind it, by hand; `make test-protocols` has Triton's own client."""
    if not running.ours:
        pytest.skip("TF Serving has it not")
    images, results = zip(*stored)
    model = "/v2/models/toys"
    encoded = [base64.b64encode(image).decode() for image in images]
    one = {"name": "image_bytes", "shape": [len(images)], "datatype": "BYTES"}
    as_json = {"id": "7", "inputs": [{**one, "data": encoded, "parameters": {"content_type": "base64"}}]}
    status, response = running.send(f"{model}/versions/1/infer", as_json)
    assert status == 200 and (response["id"], response["model_name"], response["model_version"]) == ("7", "toys", "1")
    assert response["parameters"] == {"signature_name": "serving_default"}
    outputs = {o["name"]: np.array(o["data"], object).reshape(o["shape"]) for o in response["outputs"]}
    rows = [{name: array[row].tolist() for name, array in outputs.items()} for row in range(len(images))]
    assert all(client.alike(row, expected, 1e-4) for row, expected in zip(rows, results))

    behind = b"".join(len(image).to_bytes(4, "little") + image for image in images)
    wanted = {"name": "embedding", "parameters": {"binary_data": True}}
    described = {**one, "parameters": {"binary_data_size": len(behind)}}
    start = json.dumps({"inputs": [described], "outputs": [wanted]}).encode()
    with running.connect() as connection:
        connection.request("POST", f"{model}/infer", start + behind, {"Inference-Header-Content-Length": len(start)})
        answer = connection.getresponse()
        size, body = int(answer.headers["Inference-Header-Content-Length"]), answer.read()
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/octet-stream"
    (output,) = json.loads(body[:size])["outputs"]
    assert (output["shape"], output["parameters"]) == ([len(images), 64], {"binary_data_size": len(images) * 256})
    status, response = running.send(
        PREDICT, {"signature_name": "features", "instances": [b64(image) for image in images]}
    )
    expected = np.array(response["predictions"])
    np.testing.assert_allclose(np.frombuffer(body[size:], "<f4").reshape(-1, 64), expected, rtol=1e-4, atol=1e-5)

    assert running.send("/v2")[1]["extensions"] == ["binary_tensor_data"]
    assert running.send("/v2/health/live") == (200, {"live": True})
    assert running.send("/v2/health/ready") == (200, {"live": True, "ready": True})
    assert running.send(f"{model}/ready") == (200, {"name": "toys", "ready": True})
    assert running.send(model)[1]["inputs"] == [{"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}]
    images_named = running.send(f"{model}?signature_name=predict_images")[1]["inputs"]
    assert images_named == [{"name": "images", "datatype": "FP32", "shape": [-1, 16, 24, 3]}]
    for path, body, expected in (
        ("/v2/models/none/infer", as_json, 404),
        (f"{model}/versions/9/infer", as_json, 404),
        (f"{model}/versions/9/ready", None, 404),
        (f"{model}/infer", {"inputs": []}, 400),
        (f"{model}/infer", {"inputs": [{**one, "shape": [33], "data": [""] * 33}]}, 400),  # more than a batch
        (f"{model}/infer", None, 405),
        (f"{model}/config", None, 404),
    ):
        status, response = running.send(path, body)
        assert (status, list(response)) == (expected, ["error"]), path


def test_prediction_service_by_its_own_stubs(running, stored):
    images, results = zip(*stored)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toys"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images))
    with grpc.insecure_channel(running.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request, timeout=60)
        outputs = {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}
        rows = as_rows(outputs.items())
        assert all(client.alike(row, expected, 1e-4) for row, expected in zip(rows, results))
        spec = response.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ("toys", 1, "serving_default")
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([b""] * 33))
        request.model_spec.version.value = 9
        for code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
            with pytest.raises(grpc.RpcError) as error:
                stub.Predict(request, timeout=60)
            assert error.value.code() is code
            request.model_spec.ClearField("version")
        request.model_spec.signature_name = "none"
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(request, timeout=60)
        assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_inference_service(running, stored):
    if not running.ours:
        pytest.skip("TF Serving has it not")
    images, results = zip(*stored)
    one = {"name": "image_bytes", "datatype": "BYTES", "shape": [len(images)], "contents": {"bytes_contents": images}}
    request = message("ModelInferRequest")(model_name="toys", inputs=[one])
    with grpc.insecure_channel(running.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        response = message("ModelInferResponse").FromString(call(request.SerializeToString(), timeout=60))
    outputs = {output.name: output for output in response.outputs}
    scores = np.reshape(outputs["scores"].contents.fp32_contents, outputs["scores"].shape)
    np.testing.assert_allclose(scores, [result["scores"] for result in results], atol=1e-4)
    classes = [name.decode() for name in outputs["classes"].contents.bytes_contents]
    assert classes == [name for result in results for name in result["classes"]]


def test_status_and_metadata(running):
    available = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/toys", "/v1/models/toys/versions/1"):
        assert running.send(path) == (200, {"model_version_status": [available]})
    status, metadata = running.send("/v1/models/toys/metadata")
    assert status == 200 and metadata["model_spec"] == {"name": "toys", "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "predict_images", "features"} <= set(signatures)
    assert set(signatures["serving_default"]["outputs"]) == {"classes", "scores", "class_ids"}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests(running, name):
    body, expected = MALFORMED[name]
    status, response = running.send(PREDICT, body)
    assert status == expected and set(response) == {"error"} and isinstance(response["error"], str)


@pytest.mark.parametrize(
    "path, body, method, code, problem",
    [
        ("/v1/models/none", None, None, 404, "Could not find any versions of model none"),
        ("/v1/models/toys/versions/9", None, None, 404, "Could not find version 9 of model toys"),
        ("/v1/models/none:predict", {"instances": ["x"]}, None, 404, "Servable not found for request: Latest(none)"),
        ("/v1/models/toys/versions/9:predict", {"instances": ["x"]}, None, 404, "Specific(toys, 9)"),
        ("/v1/models/toys/labels/x:predict", {"instances": ["x"]}, None, 400, "Unrecognized servable version label: x"),
        ("/v1/models/toys:regress", {"examples": [{}]}, None, 400, ""),
        ("/v1/models/toys:predict", None, None, 400, "Malformed request: GET /v1/models/toys:predict"),
        ("/v1/models/toys", b"{}", None, 400, "Malformed request: POST /v1/models/toys"),
        ("/v1/models", None, None, 400, "Missing model name"),
        ("/v1/models/toys:predict", b"{}", "PUT", 400, "Malformed request: PUT"),
    ],
)
def test_absent_models_versions_and_paths(running, path, body, method, code, problem):
    status, response = running.send(path, body, method)
    assert status == code and problem in response["error"]


def test_valid_and_malformed_requests_at_once(running, stored):
    assert Storm(running, stored).problems(300) == []


@pytest.mark.slow
def test_ten_thousand_requests_in_bounded_memory(running, stored):
    storm = Storm(running, stored)
    assert storm.problems(1000) == []
    before = running.memory()
    assert storm.problems(10_000) == []
    grown = (running.memory() - before) / MEGABYTE
    print(f"{before / MEGABYTE:.0f} MiB, then {grown:+.0f} MiB")  # pytest -rP
    assert grown < 100


def test_a_new_version_is_loaded_without_interruption(running, stored):
    models, versions = running.bundle / "models/toys", client.Server(running.url, 60).versions
    shutil.copytree(models / "1", models / ".2.tmp")
    statuses, done = set(), threading.Event()

    def keep_asking():
        while not done.is_set():
            statuses.add(running.send(PREDICT, {"instances": [b64(stored[0][0])]})[0])

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        os.rename(models / ".2.tmp", models / "2")
        assert reached(lambda: versions("toys") == [2])
        shutil.rmtree(models / "2")
        assert reached(lambda: versions("toys") == [1])
    finally:
        done.set()
        asking.join()
    assert statuses == {200}


def reached(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


@pytest.mark.skipif(TF_SERVING is None, reason="tensorflow_model_server is not on the PATH: TF Serving was not tested")
def test_tf_serving_itself_gets_the_same_requests():
    assert "tensorflow_model_server" in SERVERS


def test_a_body_that_is_too_large_is_rejected_before_it_is_sent(running):
    if not running.ours:
        pytest.skip("TF Serving reads bodies of any size")
    with running.connect() as connection:
        connection.putrequest("POST", PREDICT)
        connection.putheader("Content-Length", str(IN_FLIGHT * 32 * MEGABYTE))
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == 413 and "at most 33554432" in json.loads(response.read())["error"]


@pytest.mark.parametrize(
    "start, fields, status, problem",
    [
        ("GET /v1/models/toys/versions/" + "9" * 5000, {}, 400, "Failed to convert version: 9999"),
        ("POST /v1/models/toys/versions/" + "9" * 5000 + ":predict", {}, 400, "Failed to convert version: 9999"),
        ("GET /v1/models/toys", {"Host": "[::1"}, 200, "AVAILABLE"),
        ("X /v1/models/toys", {}, 405, "Malformed request: X /v1/models/toys"),
        ("GET /%0Ax", {}, 404, "Not found"),
        ("GET *", {}, 404, "Not found"),
        ("POST " + PREDICT, {"Content-Length": "0", "Transfer-Encoding": "chunked"}, 400, "either a Content-Length"),
        ("POST " + PREDICT, {"Content-Length": "9" * 5000}, 400, "Invalid HTTP request"),
        ("POST " + PREDICT, {"Content-Length": "99999999999999999999"}, 413, "at most 33554432"),
        ("GET /v1/models/toys", {"Connection": "upgrade", "Upgrade": "websocket"}, 200, "AVAILABLE"),
        ("GET /v1/models/toys", {"X-Forwarded-For": "[", "X-Forwarded-Proto": "\xe9"}, 200, "AVAILABLE"),
    ],
)
def test_odd_requests_get_answers_in_one_form(running, start, fields, status, problem):
    if not running.ours:
        pytest.skip("TF Serving has its own")
    lines = [f"{start} HTTP/1.1", *(f"{name}: {value}" for name, value in {"Host": "x", **fields}.items())]
    with hang(running, "\r\n".join([*lines, "", ""]).encode("latin-1")) as connection:
        with contextlib.closing(http.client.HTTPResponse(connection)) as response:
            response.begin()
            assert response.status == status and problem in json.dumps(json.loads(response.read()))


def test_a_folder_without_models_and_a_port_in_use(exported, tmp_path):
    with pytest.raises(ValueError, match="has no model that can be served"):
        serve(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"Cannot listen on 127.0.0.1:{port}"):
            serve(exported[0], port=port)
