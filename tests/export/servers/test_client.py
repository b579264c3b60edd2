"""The client, with a server that runs the folder's file by ONNX Runtime in place of tritonclient."""

import importlib.util
import json
import shutil
import sys
import types

import numpy as np
import onnxruntime
import pytest


class Input:
    def __init__(self, name, shape, dtype):
        self.name, self.shape, self.dtype = name, shape, dtype

    def set_data_from_numpy(self, array):
        assert tuple(self.shape) == array.shape and self.dtype == "FP32" and array.dtype == np.float32
        self.array = array


class Server:
    """As tritonclient.http's client; `change` changes the outputs."""

    change = staticmethod(lambda values: values)
    models = None

    def __init__(self, url):
        self.url = url

    def session(self, name):
        return onnxruntime.InferenceSession(self.models / name / "1" / "model.onnx")

    def get_model_metadata(self, name):
        return {"outputs": [{"name": output.name} for output in self.session(name).get_outputs()]}

    def infer(self, name, inputs, version, outputs):
        assert version in ("", "1")
        given = self.session(name).run(outputs, {one.name: one.array for one in inputs})
        found = {output: self.change(values) for output, values in zip(outputs, given)}
        return types.SimpleNamespace(as_numpy=found.get)


@pytest.fixture
def client(triton_folder, tmp_path, monkeypatch):
    """The client's module in a copy of the folder."""
    folder = shutil.copytree(triton_folder[0], tmp_path / "triton")
    fakes = {
        "tritonclient.http": {
            "InferenceServerClient": Server,
            "InferInput": Input,
            "InferRequestedOutput": lambda name: name,
        },
        "tritonclient.utils": {"InferenceServerException": type("InferenceServerException", (Exception,), {})},
    }
    for name, contents in {"tritonclient": {}, **fakes}.items():
        module = types.ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "images", raising=False)
    monkeypatch.setattr(Server, "models", folder / "models")
    spec = importlib.util.spec_from_file_location("served_client", folder / "client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("images", None)


def test_the_stored_answers_are_those_of_the_server(client, capsys, monkeypatch):
    assert client.main(["--check"]) == 0
    assert capsys.readouterr().out == "toys version 1: 4 images, 0 wrong\n"
    monkeypatch.setattr(Server, "change", staticmethod(lambda values: values[:, ::-1]))
    assert client.main(["--check"]) == 1
    assert "00.png: another probabilities than stored" in capsys.readouterr().out


def test_images_are_classified(client, capsys):
    folder = client.HERE / "models" / "toys" / "1"
    labels = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    stored = json.loads((folder / "examples.json").read_text())["outputs"]["01.jpg"]["probabilities"]["numbers"]
    assert client.main([str(folder / "examples" / "01.jpg"), "--top", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()[1].split()
    assert printed[0] == labels[np.argmax(stored)] and float(printed[1]) == pytest.approx(100 * max(stored), abs=1.5)
    (folder / "broken.jpg").write_bytes(b"no image")
    assert client.main([str(folder / "broken.jpg")]) == 1
    assert "broken.jpg cannot be read" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_no_fault_of_the_image(client, capsys, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionRefusedError("nobody listens")

    monkeypatch.setattr(Server, "infer", refuse)
    assert client.main([str(client.HERE / "models/toys/1/examples/00.png")]) == 1
    assert capsys.readouterr().err == "client.py: nobody listens\n"


def test_scores_of_one_number_are_compared_too(client):
    kept = {"shape": [], "every": 1, "numbers": [7.0]}
    assert client.alike(np.float32(7.001), kept, 0.999) and not client.alike(np.float32(7.1), kept, 0.999)
    assert not client.alike(None, kept, 0.999)
