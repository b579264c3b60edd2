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
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from keras_vit.export.devserver.app import IN_FLIGHT, MEGABYTE, Intake, serve
from keras_vit.export.devserver.rest import RestError
from keras_vit.export.serving import client
from tests.export.running import Running, send, start_ours

TF_SERVING = shutil.which("tensorflow_model_server")
SERVERS = ["keras-vit serve", *(["tensorflow_model_server"] if TF_SERVING else [])]


def start_tf_serving(bundle, log):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    local = Path(log.name).with_name("models.config")
    local.write_text((bundle / "models.config").read_text().replace('"/models/', f'"{bundle}/models/'))
    command = [TF_SERVING, "--port=0", f"--rest_api_port={port}", f"--model_config_file={local}", "--enable_batching"]
    command += [f"--batching_parameters_file={bundle}/batching.config"]
    command += [f"--monitoring_config_file={bundle}/monitoring.config"]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    running = Running(f"http://127.0.0.1:{port}", bundle, process, ours=False)
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


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


def huge_png(side=20_000):
    """A valid PNG of one bit a pixel: 50 kB that decompress to 1.2 GB."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((1 + side // 8) * side), 1)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PREDICT = "/v1/models/toys:predict"
GREY = [[[128.0] * 3] * 24] * 16
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


def test_status_and_metadata(running):
    available = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/toys", "/v1/models/toys/versions/1"):
        assert running.send(path) == (200, {"model_version_status": [available]})
    status, metadata = running.send("/v1/models/toys/metadata")
    assert status == 200 and metadata["model_spec"] == {"name": "toys", "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "predict_images", "features"} <= set(signatures)
    assert set(signatures["serving_default"]["outputs"]) == {"classes", "scores", "class_ids"}


MALFORMED = {
    "empty": (b"", 400),
    "no JSON": (b"instances = [1]", 400),
    "cut off": (b'{"instances": [{"b64": "aGV', 400),
    "no object": (b"[1, 2]", 400),
    "wrong key": ({"images": [1]}, 400),
    "both keys": ({"instances": ["x"], "inputs": ["x"]}, 400),
    "no instances": ({"instances": []}, 400),
    "wrong input": ({"instances": [{"image": {"b64": ""}}]}, 400),
    "truncated base64": ({"instances": [{"b64": "aGVsb"}]}, 400),
    "no base64": ({"instances": [{"b64": "%%%%"}]}, 400),
    "a number": ({"instances": [1.0]}, 400),
    "NaN for an image": ({"instances": [float("nan")]}, 400),
    "nested images": ({"instances": [[{"b64": ""}]]}, 400),
    "no such signature": ({"instances": ["x"], "signature_name": "none"}, 400),
    "signature without a name": ({"instances": ["x"], "signature_name": 1}, 400),
    "wrong shape": ({"instances": [[[1.0]]], "signature_name": "predict_images"}, 400),
    "ragged": ({"instances": [GREY, GREY[:3]], "signature_name": "predict_images"}, 400),
    "text in an image": ({"instances": [[[["1"] * 3] * 24] * 16], "signature_name": "predict_images"}, 400),
    "more than a batch": ({"instances": ["x"] * 33}, 400),
}


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


class Storm:
    """Valid and malformed requests in turn, from many threads."""

    def __init__(self, running, stored):
        self._running, self._stored = running, stored
        self._bad = [*MALFORMED.values(), ({"instances": [b64(huge_png())]}, 200)]

    def problems(self, number, threads=16):
        """What was wrong with the responses to a number of requests."""
        found, jobs, lock = [], iter(range(number)), threading.Lock()

        def next_job():
            with lock:
                return next(jobs, None)

        def work():
            with self._running.connect() as connection:
                for job in iter(next_job, None):
                    try:
                        found.extend(self._malformed(job, connection) if job % 3 == 2 else self._good(job, connection))
                    except (OSError, http.client.HTTPException, ValueError) as error:
                        found.append(repr(error))
                        connection.close()

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return found

    def _malformed(self, job, connection):
        body, expected = self._bad[job // 3 % len(self._bad)]
        status, response = send(connection, PREDICT, body)
        return [] if status == expected else [f"{status} {response}, not {expected}"]

    def _good(self, job, connection):
        some = [self._stored[(job + step) % len(self._stored)] for step in range(1 + job % 4)]
        status, response = send(connection, PREDICT, {"instances": [b64(image) for image, _ in some]})
        if status != 200 or len(response["predictions"]) != len(some):
            return [f"{status} {response}"]
        pairs = zip(response["predictions"], some)
        return [f"{one}, not {expected}" for one, (_, expected) in pairs if not client.alike(one, expected, 1e-4)]


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


class Request:
    """What `Intake` reads a body from."""

    def __init__(self, parts, length=None):
        self._parts, self.headers = parts, {} if length is None else {"content-length": str(length)}

    async def stream(self):
        for part in self._parts:
            yield part


def run(coroutine):
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
        raise AssertionError("it waits for something")


def test_bodies_are_bounded_singly_and_together():
    intake = Intake(10, 16)

    async def scenario():
        async with intake.body(Request([b"12345", b"67890"])) as body:
            assert body == b"1234567890"
            for request in (Request([b"123", b"4567"]), Request([], 9)):
                with pytest.raises(RestError, match="try again") as error:
                    async with intake.body(request):
                        """Not reached."""
                assert error.value.status == 503
            async with intake.body(Request([b"123456"])) as other:
                assert other == b"123456"
        for request in (Request([b"123456", b"78901"]), Request([], 11)):
            with pytest.raises(RestError, match="at most 10") as error:
                async with intake.body(request):
                    """Not reached."""
            assert error.value.status == 413
        async with intake.body(Request([b"1234567890"])) as body:
            assert len(body) == 10

    run(scenario())


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
