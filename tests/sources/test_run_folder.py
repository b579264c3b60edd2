"""A run folder written, opened again, and refused where something is missing."""

import json
import os

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


@pytest.mark.parametrize("file", ["labels.txt", "run.json", "preprocessing.json", "held_out.csv"])
def test_a_byte_order_mark_is_no_part_of_a_file(folder, file):
    Run.write_test_images(folder, [("1.png", 0)])
    path = folder / file
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # as Windows' editors write it
    run = Run.open(folder)
    assert run.labels == LABELS and run.spec == SPEC and run.test_images() == [(folder / "1.png", 0)]


def test_test_images_round_trip(folder, tmp_path):
    images = [("held_out/ant/1.png", 0), (folder / "2.png", 2), (tmp_path / "other.png", 1), ("/a b/far, away.png", 1)]
    Run.write_test_images(folder, images)
    assert (folder / "held_out.csv").read_text().splitlines() == [
        "path,label",
        "held_out/ant/1.png,0",
        "2.png,2",
        "../other.png,1",
        '"/a b/far, away.png",1',
    ]
    expected = [(folder / path, label) for path, label in images]
    assert Run.open(folder).test_images() == expected


def write_near(place, name="1.png"):
    """An image in a place below the folder of this name."""
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"image")
    return path


@pytest.mark.parametrize("run, data", [("runs/a", "data/test"), ("run", "data"), ("run", "."), ("work/runs/a", "work")])
def test_a_run_and_the_images_beside_it_move_together(folder, tmp_path, run, data):
    (tmp_path / "one" / run).parent.mkdir(parents=True)
    moved = folder.rename(tmp_path / "one" / run)
    image = write_near(tmp_path / "one" / data, "b é/1.png")
    Run.write_test_images(moved, [(image, 1)])
    assert Run.open(moved).require_test_images() == [(image, 1)]
    (tmp_path / "one").rename(tmp_path / "two")
    assert Run.open(tmp_path / "two" / run).require_test_images() == [(tmp_path / "two" / data / "b é/1.png", 1)]


@pytest.mark.parametrize("place", ["data", "deep/data"])
def test_images_far_from_the_run_keep_their_place(folder, tmp_path, place):
    image = write_near(tmp_path / place)
    far = tmp_path / "x/y/z/run"
    far.parent.mkdir(parents=True)
    Run.write_test_images(folder.rename(far), [(image, 1)])
    far = far.rename(tmp_path / "run")
    assert Run.open(far).require_test_images() == [(image, 1)]


def test_a_run_behind_a_link_finds_the_images_beside_it(folder, tmp_path, monkeypatch):
    image = write_near(tmp_path / "data")
    (tmp_path / "links/to").mkdir(parents=True)
    link = tmp_path / "links/to/it"
    link.symlink_to(folder)
    monkeypatch.chdir(tmp_path / "links")
    Run.write_test_images("to/it", [(image, 1)])
    for path in (folder, link, "to/it"):
        [(found, _)] = Run.open(path).require_test_images()
        assert found == image


@pytest.mark.parametrize("lost, first", [((0, 1, 2), 0), ((1,), 1), ((1, 2), 1)])
def test_lost_test_images_are_counted_with_the_remedies(folder, tmp_path, lost, first):
    images = [(write_near(tmp_path / "data", f"{number}.png"), 0) for number in range(3)]
    Run.write_test_images(folder, images)
    for number in lost:
        images[number][0].unlink()
    message = (
        f"run: {len(lost)} of its 3 test images are missing, .*{first}.png the first.*--images DIR.*--data-dir DIR"
    )
    with pytest.raises(ValueError, match=message):
        Run.open(folder).require_test_images()
    assert Run.open(folder).test_images() == images  # their names are known still


def test_names_that_are_not_utf8_are_kept(folder):
    path = os.fsdecode(b"held_out/caf\xe9.png")
    Run.write_test_images(folder, [(path, 0)])
    assert Run.open(folder).test_images() == [(folder / path, 0)]


@pytest.mark.parametrize("text", ["file,label\na,0\n", "path,label\na,3\n", "path,label\na,ant\n"])
def test_a_bad_list_of_test_images_is_named(folder, text):
    (folder / "held_out.csv").write_text(text)
    with pytest.raises(ValueError, match="held_out.csv"):
        Run.open(folder).test_images()


def test_a_missing_list_of_test_images_is_named(folder):
    with pytest.raises(ValueError, match="held_out.csv"):
        Run.open(folder).test_images()


UNKNOWN = {"score": "max_logit", "threshold": -1.5, "kept": 0.9}


def test_a_run_of_several_labels(folder):
    thresholds, images = [0.25, 0.5, 0.75], [("held_out/a.png", (0, 2)), ("held_out/b.png", ()), ("c.png", (1,))]
    description(folder, details={"multi_label": True, "thresholds": thresholds, "unknown": UNKNOWN})
    Run.write_test_images(folder, images)
    run = Run.open(folder)
    assert run.multi_label and run.thresholds == (0.25, 0.5, 0.75) and run.unknown == UNKNOWN
    assert run.answers.least(3) == run.thresholds
    assert run.test_images() == [(folder / path, numbers) for path, numbers in images]
    assert (folder / "held_out.csv").read_text() == "path,label\nheld_out/a.png,0|2\nheld_out/b.png,\nc.png,1\n"


def test_runs_made_before_have_one_label_and_no_score(folder):
    run = Run.open(folder)
    assert (run.multi_label, run.thresholds, run.unknown) == (False, None, None)


@pytest.mark.parametrize("text", ["a,0|3\n", "a,0|\n", "a,|\n", "a,0|ant\n"])
def test_a_number_of_several_that_is_no_class_is_named(folder, text):
    description(folder, details={"multi_label": True})
    (folder / "held_out.csv").write_text(f"path,label\n{text}")
    with pytest.raises(ValueError, match='held_out.csv, line 2: .*below 3, or several joined by "|"'):
        Run.open(folder).test_images()


@pytest.mark.parametrize("text", ["a,0|1\n", "a,\n"])
def test_several_labels_or_none_are_refused_where_there_is_one(folder, text):
    (folder / "held_out.csv").write_text(f"path,label\n{text}")
    with pytest.raises(ValueError, match="held_out.csv, line 2"):
        Run.open(folder).test_images()


def test_thresholds_of_another_number_of_classes_are_named(folder):
    description(folder, details={"multi_label": True, "thresholds": [0.5]})
    with pytest.raises(ValueError, match="run.json: thresholds must be 3 numbers"):
        Run.open(folder)
