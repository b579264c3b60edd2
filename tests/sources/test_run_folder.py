"""A run folder written, opened again, and refused where something is missing."""

import json

import numpy as np
import pytest

from keras_vit.prediction.preprocess_input import preprocess_input
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import Run, read_labels

SPEC = Spec((4, 6), (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
LABELS = ("ant", "bee", "wild cat")


def description(folder, labels=LABELS, details=None):
    Run.write_description(folder, name="toy-1", model_name="Toy", labels=labels, spec=SPEC, details=details)
    return folder


@pytest.fixture
def folder(tmp_path):
    import keras

    image = keras.Input((4, 6, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    keras.Model(image, keras.layers.Dense(3, activation="softmax")(x)).save(tmp_path / "run.keras")
    folder = description(tmp_path / "run", details={"epochs": 3})
    (tmp_path / "run.keras").rename(folder / "model.keras")
    return folder


def test_open_returns_what_was_written(folder):
    run = Run.open(folder)
    assert (run.name, run.model_name, run.classes) == ("toy-1", "Toy", 3)
    assert run.labels == LABELS and run.spec == SPEC and run.path == folder
    assert json.loads((folder / "run.json").read_text())["epochs"] == 3
    assert run.load_model().output_shape == (None, 3)


def test_preprocess_input_takes_a_run_folder(folder):
    x = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), np.uint8)
    np.testing.assert_array_equal(preprocess_input(x, folder), preprocess_input(x, SPEC))


@pytest.mark.parametrize("name", ["model.keras", "preprocessing.json", "labels.txt", "run.json"])
def test_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=name):
        Run.open(folder)


def test_no_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        Run.open(tmp_path / "nowhere")


def test_labels_must_agree_with_run_json(folder):
    (folder / "labels.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match="3 classes.*has 2"):
        Run.open(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"model": "Toy", "name": "toy", "classes": "3"}'])
def test_bad_run_json_is_named(folder, text):
    (folder / "run.json").write_text(text)
    with pytest.raises(ValueError, match="run.json"):
        Run.open(folder)


def test_truncated_model_is_named(folder):
    path = folder / "model.keras"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="model.keras"):
        Run.open(folder).load_model()


@pytest.mark.parametrize("labels", [(), ("a", " "), ("a", "b\nc")])
def test_bad_labels_are_refused_and_nothing_is_written(tmp_path, labels):
    with pytest.raises(ValueError, match="one name per class"):
        description(tmp_path / "run", labels)
    assert not (tmp_path / "run").exists()


def test_bad_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a/b"):
        Run.write_description(tmp_path, name="a/b", model_name="T", labels=["a"], spec=SPEC)


def test_labels_file_with_other_encoding_is_named(tmp_path):
    (tmp_path / "labels.txt").write_bytes("\xe4".encode("latin-1"))
    with pytest.raises(ValueError, match="labels.txt"):
        read_labels(tmp_path / "labels.txt")


def test_test_images_round_trip(folder, tmp_path):
    images = [("held_out/ant/1.png", 0), (folder / "2.png", 2), (tmp_path / "other.png", 1)]
    Run.write_test_images(folder, images)
    assert (folder / "held_out.csv").read_text().splitlines()[:3] == [
        "path,label",
        "held_out/ant/1.png,0",
        "2.png,2",
    ]
    expected = [(folder / path, label) for path, label in images]
    assert Run.open(folder).test_images() == expected


@pytest.mark.parametrize("text", ["file,label\na,0\n", "path,label\na,3\n", "path,label\na,ant\n"])
def test_a_bad_list_of_test_images_is_named(folder, text):
    (folder / "held_out.csv").write_text(text)
    with pytest.raises(ValueError, match="held_out.csv"):
        Run.open(folder).test_images()


def test_a_missing_list_of_test_images_is_named(folder):
    with pytest.raises(ValueError, match="held_out.csv"):
        Run.open(folder).test_images()
