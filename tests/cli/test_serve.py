"""The verb's arguments and its first lines; the server itself is asked in tests/export/test_server.py."""

import pytest

from keras_vit.cli import serve
from keras_vit.export.devserver import app
from keras_vit.system.limits import GRACE_SECONDS, READ_SECONDS


def test_arguments_reach_the_server(monkeypatch, capsys, tmp_path):
    asked = []

    def fake(bundle, host, port, max_request, poll, ready, patience, grpc_port, images):
        asked.append((bundle, host, port, max_request, poll, patience.read, patience.grace, grpc_port, images))
        ready("http://h:1", [("toys", 2), ("other", 1)], grpc_port and f"h:{grpc_port}")

    monkeypatch.setattr(app, "serve", fake)
    assert serve.main(["some folder"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "http://h:1/  a page to try them on",
        "http://h:1/v1/models/toys  version 2",
        "http://h:1/v1/models/other  version 1",
    ]
    options = ["--host", "0.0.0.0", "--port", "1", "--max-request-mb", "0.5", "--poll-seconds", "9"]
    options += ["--read-seconds", "3", "--grace-seconds", "0.5", "--grpc-port", "8500"]
    options += ["--images", str(tmp_path)]
    assert serve.main(["x", *options]) == 0
    assert "h:8500  gRPC" in capsys.readouterr().out.splitlines()
    assert asked == [
        ("some folder", "127.0.0.1", 8501, 32 * 2**20, 1, READ_SECONDS, GRACE_SECONDS, None, None),
        ("x", "0.0.0.0", 1, 2**19, 9, 3, 0.5, 8500, str(tmp_path)),
    ]


@pytest.mark.parametrize("option", ["--read-seconds", "--grace-seconds"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_seconds_that_are_none_are_refused(option, value, capsys):
    with pytest.raises(SystemExit) as done:
        serve.main(["x", option, value])
    assert done.value.code == 2 and f"argument {option}: invalid seconds value: '{value}'" in capsys.readouterr().err


def test_help_and_usage(capsys):
    with pytest.raises(SystemExit) as done:
        serve.main(["--help"])
    assert done.value.code == 0 and "/labels/LABEL]:predict" in capsys.readouterr().out
    with pytest.raises(SystemExit) as done:
        serve.main([])
    assert done.value.code == 2


def test_nothing_to_serve_is_a_sentence(tmp_path, capsys):
    from keras_vit.cli.main import main

    assert main(["serve", str(tmp_path)]) == 1
    assert "has no model that can be served; `keras-vit export` writes such a folder" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["grpc", "tensorflow_serving"])
def test_grpc_without_its_packages_is_a_sentence(package, monkeypatch, capsys):
    from keras_vit.cli.main import main

    def needs_it(*arguments):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(app, "serve", needs_it)
    assert main(["serve", "x", "--grpc-port", "8500"]) == 1
    assert f"No module named {package!r}. Run: pip install 'keras-vit-models[grpc]'" in capsys.readouterr().err
