"""What a path or a name stands for, found out without loading anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from keras_vit.preprocessing import Spec
from keras_vit.sources.resolve import (
    KINDS,
    MODELS,
    at_path,
    expected,
    is_saved_model,
    resolve,
    resolve_spec,
    version_folder,
)
from keras_vit.weights import catalogue

SPEC = Spec((8, 9), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def version(folder):
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


def test_versions_are_numbers(tmp_path):
    version(tmp_path / "m" / "9")
    newest = version(tmp_path / "m" / "10")
    version(tmp_path / "m" / ".11.0badcafe-1-1.tmp")  # half-written
    (tmp_path / "m" / "12").mkdir()
    assert version_folder(tmp_path / "m") == newest == version_folder(newest)


def test_bundle_of_one_model_and_of_several(tmp_path):
    only = version(tmp_path / "models" / "one" / "1")
    (tmp_path / "models" / "models.config").write_text("")
    assert is_saved_model(tmp_path) and version_folder(tmp_path) == only
    other = version(tmp_path / "models" / "two" / "1")
    assert version_folder(tmp_path, "two") == other
    with pytest.raises(ValueError, match="2 models"):
        version_folder(tmp_path)


def test_other_folders_are_not_saved_models(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "1").write_text("a file")
    assert not is_saved_model(tmp_path)
    assert not is_saved_model(tmp_path / "1") and not is_saved_model(tmp_path / "nowhere")


def file(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def everything(folder):
    """{kind: (given path, name, resolved path)}, one of every kind but the published."""
    run = file(folder / "runs" / "mine" / "run.json").parent
    saved = version(folder / "serving" / "models" / "digits" / "3").parents[2]
    return {
        "run": (run, "mine", run),
        "saved_model": (saved, "digits", saved / "models" / "digits" / "3"),
        "keras": (file(folder / "a" / "net.keras"), "net", folder / "a" / "net.keras"),
        "tflite": (file(folder / "edge" / "net_fp32.tflite").parent, "net_fp32", folder / "edge" / "net_fp32.tflite"),
        "weights": (file(folder / "w" / "net.safetensors"), "net", folder / "w" / "net.safetensors"),
    }


def test_files_decide_the_kind(tmp_path):
    for kind, (given, name, path) in everything(tmp_path).items():
        for form in (given, str(given)):
            found = resolve(form, tuple(KINDS))
            assert (found.kind, found.name, found.path, found.row) == (kind, name, path, None)


def test_a_run_in_progress_is_a_run(tmp_path):
    file(tmp_path / "model.keras")
    assert resolve(tmp_path).kind == "run" and resolve(tmp_path).name == tmp_path.name


@pytest.mark.parametrize("name, row", [("SwinT", "SwinT.ms_in1k"), ("swin_tiny_patch4_window7_224", "SwinT.ms_in1k")])
def test_a_name_is_a_published_model_with_its_preprocessing_and_labels(name, row):
    found = resolve(name)
    assert found.kind == "published" and found.row.name == row and found.name == name and found.path is None
    assert found.spec() == found.row.spec and found.labels()[0] == "tench" and len(found.labels()) == 1000


def test_weights_without_a_classifier_have_no_labels():
    assert resolve("ViTB16.dino").row.classes == 0 and resolve("ViTB16.dino").labels() is None


def test_preprocessing_and_labels_are_beside_the_files(tmp_path):
    for kind, (given, *_) in everything(tmp_path).items():
        found = resolve(given, tuple(KINDS))
        assert found.spec() is None and found.labels() is None
        found.folder.mkdir(exist_ok=True)
        SPEC.save(found.folder / "preprocessing.json")
        (found.folder / "labels.txt").write_text("a\nb\n")
        assert found.spec() == SPEC and found.labels() == ("a", "b"), kind
        assert resolve_spec(given) == SPEC


def test_an_error_names_the_kind_that_the_caller_cannot_use(tmp_path):
    given = everything(tmp_path)["tflite"][0]
    with pytest.raises(
        ValueError, match=r"teacher: .*edge is a \.tflite file.*Expected a run folder .*or a \.keras file"
    ):
        resolve(given, ("run", "keras"), "teacher")


def test_unknown_paths_and_names_are_errors_with_the_expected_kinds(tmp_path):
    with pytest.raises(ValueError, match="of no known kind. Expected a run folder"):
        resolve(tmp_path)
    with pytest.raises(ValueError, match="of no known kind"):
        resolve(file(tmp_path / "notes.txt"))
    for path in (tmp_path / "nowhere", "no/where", "nowhere.keras", "nowhere.tflite"):
        for error in (FileNotFoundError, ValueError):
            with pytest.raises(error, match="does not exist. Expected a run folder"):
                resolve(path)
    with pytest.raises(ValueError, match="Closest: SwinT.*Expected a run folder"):
        resolve("SwinTT")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        resolve("nowhere", ("run", "keras"))


def test_several_tflite_files_are_listed(tmp_path):
    file(tmp_path / "one.tflite"), file(tmp_path / "two.tflite")
    with pytest.raises(ValueError, match="holds 2 .tflite files.*one.tflite.*two.tflite"):
        at_path(tmp_path)


def test_the_expected_kinds_in_words():
    assert expected(("keras",)) == "a .keras file"
    assert expected(("published", "run")) == "a run folder (run.json) or a model's name such as SwinT"
    assert all(KINDS[kind] in expected(MODELS) for kind in MODELS)


def test_a_spec_by_spec_file_and_name(tmp_path):
    SPEC.save(tmp_path / "preprocessing.json")
    assert resolve_spec(SPEC) is SPEC and resolve_spec(str(tmp_path / "preprocessing.json")) == SPEC
    assert resolve_spec("SwinT") == catalogue.default("SwinT").spec
    with pytest.raises(ValueError, match="Received: 5"):
        resolve_spec(5)
    with pytest.raises(ValueError, match="has no preprocessing.json"):
        resolve_spec(file(tmp_path / "bare" / "net.keras"))
    with pytest.raises(ValueError, match="not a preprocessing spec"):
        resolve_spec(file(tmp_path / "x.json", b"{"))


def test_nothing_heavy_is_imported(tmp_path):
    given = [str(given) for given, *_ in everything(tmp_path).values()] + ["SwinT"]
    code = (
        "import json, sys\nfrom keras_vit.sources.resolve import KINDS, resolve\n"
        "kinds = [resolve(given, tuple(KINDS)).kind for given in json.loads(sys.argv[1])]\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules), sorted(sys.modules)\nprint(*kinds)"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(given)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["run", "saved_model", "keras", "tflite", "weights", "published"]
    assert Path(given[0]).is_dir()
