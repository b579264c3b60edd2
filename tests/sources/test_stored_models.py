"""Models at a URL are those on a disk; a copy is made once, whole, and anew when the object changed."""

from pathlib import Path

import numpy as np
import pytest

import keras_vit
from keras_vit.sources.resolve import resolve
from keras_vit.sources.stored_models import local_copy
from keras_vit.system import remote, uploads
from tests import toy_artifacts as toy
from tests.stores import breaking, empty_store, put

URL = "memory://bucket/runs/colours"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy.write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(autouse=True)
def store(run, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_VIT_HOME", str(tmp_path))
    monkeypatch.setattr(remote, "PAUSE", 0)
    files = empty_store()
    put(run, URL)
    files.pipe_file(f"{URL}/checkpoints/step-1.npz", b"large")
    yield files
    empty_store()


def test_a_run_and_a_file_predict_as_on_the_disk(run):
    images = toy.random_images()
    expected = keras_vit.Predictor.open(str(run)).predict(images)
    for url in (URL, f"{URL}/", f"{URL}/model.keras"):
        np.testing.assert_array_equal(keras_vit.Predictor.open(url).predict(images), expected)
    assert resolve(URL).name == "colours" and resolve(URL).kind == "run"


def test_what_only_training_needs_is_not_downloaded():
    assert not (local_copy(URL) / "checkpoints").exists()


def test_a_copy_is_made_once_and_anew_when_the_object_changed(monkeypatch):
    first = local_copy(URL)
    calls = breaking(monkeypatch, "cat_file", [])
    assert local_copy(URL) == first and not calls
    remote.write(f"{URL}/labels.txt", b"a\nb\nccccccc\n")
    second = local_copy(URL)
    assert second != first and (second / "labels.txt").read_bytes() == b"a\nb\nccccccc\n"


def test_nothing_half_downloaded_stays(tmp_path, monkeypatch):
    breaking(monkeypatch, "cat_file", [None, *5 * [OSError("reset")]])
    with pytest.raises(remote.UnreachableError, match="reset"):
        local_copy(URL)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_is_not_listed_by_the_marker_is_not_read(run):
    uploads.upload_folder(Path(run), URL)
    remote.write(f"{URL}/half.tflite", b"of the next upload")
    assert not (local_copy(URL) / "half.tflite").exists()
    remote.write(f"{URL}/run.json", b"{}")
    with pytest.raises(ValueError, match="run.json is not the file that .complete.json beside it lists"):
        local_copy(URL)


def test_what_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="memory://bucket/nowhere: there is no such object, nor a folder"):
        resolve("memory://bucket/nowhere")
