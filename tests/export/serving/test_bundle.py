"""The folder around the models: it is complete, can be added to, and keeps edited files."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from string import Template

import numpy as np
import pytest
import yaml

from keras_vit.export.serving import bundle, saved_model
from keras_vit.export.serving.serving_config import read_batching, read_models

KILLED = """
import os, signal, sys
import numpy as np
from keras_vit.export.parity import parity
from keras_vit.export.serving import bundle, serving_config
from keras_vit.export.model.source import open_source
source = open_source(sys.argv[1])
expected = parity.expect(source)
parity.replay_all = lambda *arguments: [dict(np.load(sys.argv[3]))]
{killed} = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
bundle.export(source, sys.argv[2], expected, top_k=3)
"""


@pytest.fixture
def own(exported, tmp_path):
    """A copy of the exported bundle."""
    return Path(shutil.copytree(exported[0], tmp_path / "serving"))


@pytest.fixture
def again(toy_source, expected, quick_exports):
    """Export the toys into a folder."""
    return lambda folder, **options: bundle.export(toy_source, folder, expected, **options)


def test_the_folder_is_complete(exported):
    folder, version, report = exported
    files = {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "models" not in path.parts
    }
    assert files - {name for name in files if name.startswith("examples/")} == {
        "models.config",
        "batching.config",
        "monitoring.config",
        "docker-compose.yml",
        "kubernetes.yaml",
        "client.py",
        "README.md",
        "report.json",
        "expected/toys/1.json",
    }
    summary = json.loads((folder / "report.json").read_text())
    assert summary == {
        "tensorflow_serving": "2.20.0",
        "batch_sizes": [1, 2, 4, 8, 16, 32],
        "models": {"toys": {"1": report}},
    }
    readme = (folder / "README.md").read_text()
    assert "- `toys`, version 1: 6 classes, 16 x 24 pixels. Version 1: 12 test images" in readme
    assert "/v1/models/toys:predict" in readme and "$" not in readme


def test_examples_are_images_with_the_models_outputs(exported, expected):
    folder = exported[0]
    stored = json.loads((folder / "expected/toys/1.json").read_text())
    assert (stored["model"], stored["version"]) == ("toys", 1)
    assert sorted(stored["answers"]) == sorted(os.listdir(folder / "examples/toys/1"))
    assert set(stored["answers"]) == {"00.png", "01.jpg", "02.jpg", "03.jpg", "unreadable.jpg"}
    result = stored["answers"]["03.jpg"]  # the last image
    assert (folder / "examples/toys/1/03.jpg").read_bytes() == Path(expected.files[-1]).read_bytes()
    best = expected.probabilities[-1].argsort()[::-1][:3]
    assert result["class_ids"] == best.tolist()
    assert result["scores"] == pytest.approx(expected.probabilities[-1][best], abs=1e-5)
    assert stored["answers"]["unreadable.jpg"] == {"classes": [""] * 3, "scores": [0.0] * 3, "class_ids": [-1] * 3}


def test_containers_find_the_bundle(exported):
    folder = exported[0]
    service = yaml.safe_load((folder / "docker-compose.yml").read_text())["services"]["serving"]
    deployment, kubernetes = yaml.safe_load_all((folder / "kubernetes.yaml").read_text())
    (pod,) = deployment["spec"]["template"]["spec"]["containers"]
    assert service["image"] == pod["image"] == "tensorflow/serving:2.20.0"
    assert service["environment"] == {one["name"]: one["value"] for one in pod["env"]} == {"TF_ENABLE_ONEDNN_OPTS": "1"}
    mounts = {mount["mountPath"]: mount.get("subPath", "") for mount in pod["volumeMounts"]}
    assert mounts == {"/models": "models", "/config": ""}
    assert service["volumes"] == ["./models:/models:ro", ".:/config:ro"]
    for arguments in (service["command"], pod["args"]):
        files = [value.partition("=")[2] for value in arguments if "_file=" in value]
        assert len(files) == 3 and all((folder / Path(file).relative_to("/config")).is_file() for file in files)
    assert kubernetes["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == {"app": "toys"}
    assert pod["startupProbe"]["httpGet"]["path"] == "/v1/models/toys"


def test_templates_have_no_other_placeholders():
    names = {"image", "releases", "model", "service", "most", "allowed", "models", "answers"}
    names |= {"signatures", "undecoded", "call"}
    found = set()
    for path in bundle.TEMPLATES.iterdir():
        found |= set(Template(path.read_text()).get_identifiers())
    assert found == names


def test_a_second_model_and_a_second_version(own, again):
    kept = {name: f"# mine\n{(own / name).read_text()}" for name in bundle.KEPT}
    for name, text in kept.items():
        (own / name).write_text(text)
    assert again(own)[0].name == "2"
    assert again(own, name="other", examples=1, label="canary")[0].parent.name == "other"
    models = read_models(own)
    assert models["toys"].policy == ("latest", 1) and models["other"].labels == {"canary": 1}
    assert {name: (own / name).read_text() for name in bundle.KEPT} == kept
    assert sorted(str(path.relative_to(own)) for path in own.glob("expected/*/*")) == [
        "expected/other/1.json",
        "expected/toys/1.json",
        "expected/toys/2.json",
    ]
    assert sorted(os.listdir(own / "examples/other/1")) == ["00.png", "unreadable.jpg"]
    reports = json.loads((own / "report.json").read_text())["models"]
    assert {model: list(versions) for model, versions in reports.items()} == {"other": ["1"], "toys": ["1", "2"]}
    assert "- `toys`, versions 1, 2:" in (own / "README.md").read_text()


def test_examples_of_a_deleted_version_are_removed(own, again):
    again(own)
    shutil.rmtree(own / "models/toys/2")
    shutil.rmtree(own / "models/toys/1")
    assert again(own)[0].name == "1"
    assert os.listdir(own / "examples/toys") == ["1"] and os.listdir(own / "expected/toys") == ["1.json"]


def test_batch_sizes_default_to_those_of_the_folder(own, again, monkeypatch):
    written = []
    monkeypatch.setattr(saved_model.warmup, "write_requests", lambda *arguments: written.append(arguments[-1]))
    again(own, batch_sizes=[1, 3])
    assert read_batching(own).sizes == (1, 3)
    again(own)
    assert written == [(1, 3), (1, 3)]


@pytest.mark.parametrize(
    "options", [{"batch_sizes": [4, 2]}, {"batch_sizes": [0]}, {"batch_sizes": []}, {"label": "a/b"}]
)
def test_unusable_arguments(again, tmp_path, options):
    with pytest.raises(ValueError, match="Received"):
        again(tmp_path / "serving", **options)
    assert not (tmp_path / "serving").exists()


def test_a_broken_configuration_stops_the_export_early(own, again):
    (own / "models.config").write_text("model_config_list {")
    with pytest.raises(ValueError, match="models.config, line 1"):
        again(own)
    assert os.listdir(own / "models/toys") == ["1"]


@pytest.mark.parametrize(
    "killed, versions",
    [
        ("parity.check_saved_model", ["1"]),
        ("serving_config.add_model", ["1", "2"]),
    ],
)
@pytest.mark.slow  # system/test_files has the folder
def test_a_killed_export_leaves_a_folder_that_serves(own, toy_run, served_outputs, tmp_path, killed, versions):
    """Killed before the version has its number, or before the files around it are written."""
    before = {path: path.read_bytes() for path in own.glob("*") if path.is_file()}
    np.savez(tmp_path / "outputs.npz", **served_outputs)
    command = [sys.executable, "-c", KILLED.format(killed=killed), str(toy_run), str(own)]
    done = subprocess.run([*command, str(tmp_path / "outputs.npz")], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-1000:]
    assert {path: path.read_bytes() for path in own.glob("*") if path.is_file()} == before
    present = [path for path in (own / "models/toys").iterdir() if path.name.isdigit()]
    assert sorted(path.name for path in present) == versions
    assert all((path / saved_model.REPORT).is_file() and (path / saved_model.warmup.PATH).is_file() for path in present)
