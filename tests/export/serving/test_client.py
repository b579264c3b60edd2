"""The bundle's client, with a server of prepared responses."""

import ast
import base64
import contextlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from keras_vit.export.serving import client

STANDARD = {
    "argparse",
    "base64",
    "json",
    "math",
    "sys",
    "time",
    "urllib.error",
    "urllib.parse",
    "urllib.request",
    "pathlib",
}
GOOD = {"classes": ["three", "zero"], "scores": [0.75, 0.125], "class_ids": [3, 0]}
BAD = {"classes": ["", ""], "scores": [0.0, 0.0], "class_ids": [-1, -1]}


class Stub:
    """A model server that records its requests; an image's bytes select the result."""

    def __init__(self):
        self.requests, self.results, self.status = [], {b"good": GOOD, b"bad": BAD}, 200
        self.versions = [{"version": "2", "state": "AVAILABLE"}, {"version": "1", "state": "END"}]

    def result(self, path, body):
        self.requests.append(path)
        if self.status != 200:
            return {"error": "Servable not found"}
        if body is None:
            return {"model_version_status": self.versions}
        return {"predictions": [self.results[base64.b64decode(one["b64"])] for one in json.loads(body)["instances"]]}


@pytest.fixture
def stub():
    stub = Stub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length", 0))
            content = json.dumps(stub.result(self.path, self.rfile.read(length) if length else None)).encode()
            self.send_response(stub.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *arguments):
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stub.url = f"http://127.0.0.1:{server.server_port}"
    yield stub
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A bundle's folder with examples of version 2 of one model, as the client's own folder."""
    (tmp_path / "examples/toys/2").mkdir(parents=True)
    (tmp_path / "expected/toys").mkdir(parents=True)
    (tmp_path / "examples/toys/2/00.jpg").write_bytes(b"good")
    (tmp_path / "examples/toys/2/unreadable.jpg").write_bytes(b"bad")
    stored = {"tolerance": 1e-3, "answers": {"00.jpg": GOOD, "unreadable.jpg": BAD}}
    (tmp_path / "expected/toys/2.json").write_text(json.dumps(stored))
    monkeypatch.setattr(client, "HERE", tmp_path)
    return tmp_path


def test_it_needs_the_standard_library_only():
    nodes = ast.walk(ast.parse(Path(client.__file__).read_text(), feature_version=(3, 8)))
    imported = {n.name for node in nodes if isinstance(node, ast.Import) for n in node.names}
    assert imported <= STANDARD


def test_images_are_classified(folder, stub, capsys):
    images = [str(folder / "examples/toys/2/00.jpg")] * 9
    assert client.main(["--url", stub.url + "/", *images]) == 0
    assert capsys.readouterr().out.startswith(f"{images[0]}\n  three   75.00 %\n  zero    12.50 %\n{images[0]}\n")
    assert stub.requests == ["/v1/models/toys:predict"] * 2  # eight images, and one
    assert client.main(["--url", stub.url, "--model", "a b", "--label", "x", "--top", "1", images[0]]) == 0
    assert client.main(["--url", stub.url, "--version", "0", images[0]]) == 0
    assert stub.requests[2:] == ["/v1/models/a%20b/labels/x:predict", "/v1/models/toys/versions/0:predict"]


def test_an_unreadable_image(folder, stub, capsys):
    images = [str(folder / "examples/toys/2" / name) for name in ("unreadable.jpg", "00.jpg")]
    assert client.main(["--url", stub.url, *images]) == 1
    assert "unreadable.jpg\n  cannot be read as an image\n" in capsys.readouterr().out


def test_check(folder, stub, capsys):
    assert client.main(["--check", "--url", stub.url]) == 0
    assert capsys.readouterr().out == "toys version 2: 2 images, 0 wrong\n"
    stub.results[b"good"] = {**GOOD, "scores": [0.74, 0.125]}
    assert client.main(["--check", "--url", stub.url]) == 1
    printed = capsys.readouterr().out
    assert "version 2, 00.jpg: expected three (0.7500). Received: three (0.7400)" in printed and "1 wrong" in printed


def test_check_without_stored_results(folder, stub, capsys):
    stub.versions[0]["version"] = "3"
    assert client.main(["--check", "--url", stub.url]) == 1
    shutil.rmtree(folder / "expected")
    assert client.main(["--check", "--url", stub.url]) == 1
    printed = capsys.readouterr()
    assert printed.out == "toys version 3: no stored results\n"
    assert (
        "no version that is served has stored results" in printed.err and "name the model with --model" in printed.err
    )


@pytest.mark.parametrize(
    "change, same",
    [
        ({}, True),
        ({"scores": [0.7508, 0.1245]}, True),
        ({"scores": [0.752, 0.125]}, False),
        ({"scores": [float("nan"), 0.125]}, False),
        ({"classes": ["three", "one"], "class_ids": [3, 1]}, True),  # as good as the last
        ({"classes": ["three", "one"]}, False),
        ({"classes": ["zero", "three"], "class_ids": [0, 3]}, False),
        ({"scores": [0.75], "class_ids": [3], "classes": ["three"]}, False),
    ],
)
def test_results_that_are_alike(change, same):
    assert client.alike({**GOOD, **change}, GOOD, 1e-3) == same


def test_close_classes_may_change_places():
    expected = {"classes": ["a", "b"], "scores": [0.4001, 0.4], "class_ids": [0, 1]}
    assert client.alike({"classes": ["b", "a"], "scores": [0.4002, 0.4], "class_ids": [1, 0]}, expected, 1e-3)


def test_errors_have_a_message(folder, stub, capsys):
    image = str(folder / "examples/toys/2/00.jpg")
    stub.status = 404
    assert client.main(["--url", stub.url, image]) == 1
    assert f"{stub.url} answered 404: Servable not found" in capsys.readouterr().err
    assert client.main(["--url", "http://127.0.0.1:9", image]) == 1
    assert "no server at http://127.0.0.1:9" in capsys.readouterr().err
    assert client.main(["--url", stub.url, str(folder / "absent.jpg")]) == 1
    assert "absent.jpg" in capsys.readouterr().err
    (folder / "expected/more").mkdir()
    assert client.main(["--url", stub.url, image]) == 1
    assert "choose one with --model: more, toys" in capsys.readouterr().err
    with contextlib.suppress(SystemExit):
        client.main([])
    assert "give the path of an image, or --check" in capsys.readouterr().err
    assert client.reason(b"<html>") == "<html>"


def test_waiting_for_the_server(folder, stub, capsys):
    image, stub.versions = str(folder / "examples/toys/2/00.jpg"), []
    threading.Timer(0.3, lambda: stub.versions.append({"version": "1", "state": "AVAILABLE"})).start()
    assert client.main(["--url", stub.url, "--wait", "20", image]) == 0
    stub.versions = [{"version": "1", "state": "LOADING"}]
    assert client.main(["--url", stub.url, "--wait", "0.1", image]) == 1
    assert "after 0.1 seconds: no version is loaded yet" in capsys.readouterr().err


def test_it_runs_as_a_script(folder, stub):
    shutil.copy(client.__file__, folder / "client.py")
    command = [sys.executable, "-I", str(folder / "client.py"), "--check", "--url", stub.url]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert (done.returncode, done.stdout) == (0, "toys version 2: 2 images, 0 wrong\n"), done.stderr


TWO = {"classes": ["three", "zero", ""], "scores": [0.75, 0.5, 0.0], "class_ids": [3, 0, -1], "decoded": True}
TWO |= {"known_score": 5.0, "unknown": False}
NONE = {"classes": 3 * [""], "scores": 3 * [0.0], "class_ids": 3 * [-1], "decoded": True}
NONE |= {"known_score": 1.0, "unknown": True}
DAMAGED = {**NONE, "decoded": False, "known_score": 0.0}
EXPECTED = {"tolerance": 1e-3, "thresholds": [0.4995, 0.5, 0.5, 0.7], "unknown": {"threshold": 4.0}}


def test_all_of_several_labels_or_none_are_printed(folder, stub, capsys):
    stub.results = {b"good": TWO, b"bad": NONE}
    images = [str(folder / "examples/toys/2" / name) for name in ("00.jpg", "unreadable.jpg")]
    assert client.main(["--url", stub.url, *images]) == 0
    good, bad = images
    text = f"{good}\n  three   75.00 %\n  zero    50.00 %\n{bad}\n  unknown: score 1.00\n  none\n"
    assert capsys.readouterr().out == text
    stub.results[b"bad"] = DAMAGED
    assert client.main(["--url", stub.url, "--top", "1", *images]) == 1
    out = capsys.readouterr().out
    assert "cannot be read as an image" in out and "zero" not in out and "unknown" not in out


@pytest.mark.parametrize(
    "result, stored, same",
    [
        (TWO, TWO, True),
        (DAMAGED, DAMAGED, True),
        (DAMAGED, NONE, False),
        (TWO, NONE, False),
        ({**TWO, "scores": [0.7505, 0.5005, 0.0]}, TWO, True),
        ({**TWO, "scores": [0.76, 0.5, 0.0]}, TWO, False),
        ({**TWO, "classes": ["four", "zero", ""]}, TWO, False),
        ({**TWO, "class_ids": [3, -1, -1]}, TWO, True),  # zero, 0.5, is at its threshold
        ({**TWO, "class_ids": [-1, 0, -1]}, TWO, False),  # three, 0.75, is not
        ({**TWO, "known_score": 5.04}, TWO, True),
        ({**TWO, "known_score": 5.06}, TWO, False),
        ({**TWO, "unknown": True}, TWO, False),
        ({**TWO, "known_score": 3.999, "unknown": True}, {**TWO, "known_score": 4.001}, True),
    ],
)
def test_results_of_several_labels_agree_up_to_their_thresholds(result, stored, same):
    assert client.agree(result, stored, EXPECTED) is same and client.agree(stored, result, EXPECTED) is same


def test_a_label_may_lack_its_place_where_all_are_taken():
    one, other = ({**TWO, "classes": [name], "scores": [0.75], "class_ids": [k]} for k, name in ((3, "a"), (2, "b")))
    assert client.agree(one, other, {**EXPECTED, "thresholds": 4 * [0.5]})
    assert not client.agree({**one, "scores": [0.8]}, other, {**EXPECTED, "thresholds": 4 * [0.5]})
