"""The folders of other servers: complete, added to, and refused where they would not fit."""

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from string import Template

import numpy as np
import onnxruntime
import pytest

from keras_vit.cli import export as verb
from keras_vit.export.interchange import onnx_openvino
from keras_vit.export.servers import kserve, repository
from keras_vit.preprocessing import Spec
from tests.export import toys


@pytest.fixture
def own(triton_folder, tmp_path):
    """A copy of the folder."""
    return Path(shutil.copytree(triton_folder[0], tmp_path / "served"))


@pytest.fixture
def quick(triton_folder, expected, monkeypatch):
    """Exports reuse the folder's ONNX file and its outputs."""
    file = triton_folder[1] / "model.onnx"
    report = {name: triton_folder[2][name] for name in ("n_images", "pictures", "agreement", "largest_difference")}
    given = report, {"probabilities": expected.probabilities}
    monkeypatch.setattr(onnx_openvino, "write_onnx", lambda source, path: shutil.copyfile(file, path))
    monkeypatch.setattr(onnx_openvino, "checked", lambda *_: given)
    monkeypatch.setattr(repository, "check_packages", lambda *_: None)
    monkeypatch.setattr(repository, "_versions", lambda runtime: {})


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_folder_is_complete(triton_folder):
    folder, version, report = triton_folder
    assert version == folder / "models" / "toys" / "1"
    assert files(folder) == {
        *("README.md", "client.py", "images.py", "report.json"),
        *("models/toys/config.pbtxt", "models/toys/labels.txt"),
        *(f"models/toys/1/{name}" for name in ("model.onnx", "labels.txt", "preprocessing.json", "report.json")),
        *(f"models/toys/1/examples/{name}" for name in ("00.png", "01.jpg", "02.jpg", "03.jpg")),
        "models/toys/1/examples.json",
    }
    assert Spec.load(version / "preprocessing.json").size == toys.SIZE
    summary = json.loads((folder / "report.json").read_text())
    assert summary["target"] == "triton" and summary["models"]["toys"]["1"]["accuracy"] == report["accuracy"]
    readme = (folder / "README.md").read_text()
    assert "`toys`, version 1: `images` (B, 16, 24, 3) -> `probabilities` (B, 6). Version 1: 12 test images" in readme
    assert "$image" not in readme and "tritonserver --model-repository=/models" in readme


def test_onnx_runtime_finds_what_the_configuration_states(triton_folder, expected):
    """Names, dimensions without the batch, and batches up to the largest."""
    folder, version, _ = triton_folder
    session = onnxruntime.InferenceSession(version / "model.onnx")
    text = (folder / "models/toys/config.pbtxt").read_text()
    stated = re.findall(r'name: "(\w+)" data_type: TYPE_FP32 dims: \[([\d, ]+)\]', text)
    ends = [(end.name, ", ".join(map(str, end.shape[1:]))) for end in (*session.get_inputs(), *session.get_outputs())]
    assert stated == ends and {end.type for end in session.get_inputs()} == {"tensor(float)"}
    most = int(re.search(r"max_batch_size: (\d+)", text)[1])
    [given] = session.run(["probabilities"], {"images": expected.images[:most].astype("float32")})
    np.testing.assert_allclose(given, expected.probabilities[:most], atol=1e-5)


def test_a_second_version_keeps_an_edited_configuration(own, toy_source, expected, quick):
    config = own / "models/toys/config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 4", "max_batch_size: 64") + "# mine\n")
    edited = config.read_text()
    path, report = repository.export(toy_source, own, "triton", expected, batch_sizes=[1, 4])
    assert path == own / "models/toys/2" and report["version"] == 2 and config.read_text() == edited
    repository.export(toy_source, own, "triton", expected, name="other", examples=1)
    assert os.listdir(own / "models/other/1/examples") == ["00.png"]
    readme = (own / "README.md").read_text()
    assert "`toys`, versions 1, 2:" in readme and "`other`, version 1:" in readme


def test_a_version_that_does_not_fit_the_models_configuration_is_refused(own, toy_source, expected, quick):
    config, before = own / "models/toys/config.pbtxt", files(own)
    right = config.read_text()
    config.write_text(right.replace("dims: [6]", "dims: [7]"))
    with pytest.raises(ValueError, match=r"describes other inputs or outputs.*dims: \[6\].*another --name"):
        repository.export(toy_source, own, "triton", expected)
    config.write_text(right)
    other = dataclasses.replace(toy_source, labels=tuple("abcdef"))
    with pytest.raises(ValueError, match="labels.txt belongs to a model with other classes"):
        repository.export(other, own, "triton", expected)
    assert files(own) == before


@pytest.mark.parametrize(
    "options, message",
    [({"name": "a/b"}, "letters, digits"), ({"batch_sizes": [4, 2]}, "ascending"), ({"batch_sizes": [0]}, "from 1")],
)
def test_unusable_arguments(toy_source, expected, quick, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        repository.export(toy_source, tmp_path / "served", "triton", expected, **options)
    assert not (tmp_path / "served").exists()


def test_folders_of_openvino_and_kserve(toy_source, expected, quick, tmp_path):
    repository.export(toy_source, tmp_path / "ovms", "ovms", expected)
    present = files(tmp_path / "ovms")
    assert "config.json" in present and "models/toys/config.pbtxt" not in present
    assert "--config_path /bundle/config.json" in (tmp_path / "ovms/README.md").read_text()
    options = {"runtime": "ovms", "storage_uri": "s3://b/models"}
    repository.export(toy_source, tmp_path / "kserve", "kserve", expected, **options)
    manifest = (tmp_path / "kserve" / kserve.MANIFEST).read_text()
    assert manifest == kserve.manifest("toys", "ovms", "s3://b/models")
    with pytest.raises(ValueError, match="A storage URI is like pvc"):
        repository.export(toy_source, tmp_path / "wrong", "kserve", expected, storage_uri="models")
    with pytest.raises(ValueError, match="TF Serving takes a SavedModel"):
        repository.export(toy_source, tmp_path / "wrong", "kserve", expected, runtime="tfserving")
    assert not (tmp_path / "wrong").exists()


def test_a_folder_has_one_target(own, toy_source, expected, quick, tmp_path):
    with pytest.raises(ValueError, match="for --target triton. Choose another --output for ovms"):
        repository.export(toy_source, own, "ovms", expected)
    (tmp_path / "report.json").write_text('{"tensorflow_serving": "2.20.0"}')  # as `serving.bundle` writes it
    with pytest.raises(ValueError, match="for --target tfserving"):
        repository.refuse_other_target(tmp_path, "triton")
    repository.refuse_other_target(tmp_path, "tfserving")


def test_a_wrong_file_is_not_kept(toy_source, expected, tmp_path, triton_folder, monkeypatch):
    file = triton_folder[1] / "model.onnx"
    monkeypatch.setattr(onnx_openvino, "write_onnx", lambda source, path: shutil.copyfile(file, path))
    other = dataclasses.replace(expected, probabilities=expected.probabilities[:, ::-1])
    with pytest.raises(ValueError, match="model.onnx differ from the Keras model's, so it is not kept"):
        repository.export(toy_source, tmp_path / "served", "triton", other)
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--target", "triton", "--format", "timm"], "--target is for --format serving"),
        (["--target", "triton", "--label", "canary"], "--label: for TF Serving only"),
        (["--target", "ovms", "--any-size", "--top-k", "3"], "--top-k, --any-size: for TF Serving only"),
        (["--storage-uri", "s3://a/b"], "are for --target kserve"),
    ],
)
def test_options_that_a_target_lacks_are_refused(toy_run, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        verb.main([str(toy_run), "--output", str(tmp_path / "served"), *options])
    assert not (tmp_path / "served").exists()


def test_the_readme_has_no_other_placeholders():
    text = repository.README.read_text()
    assert set(Template(text).get_identifiers()) == {"target", "command", "models", "beside", "image"}
