"""ImageNet-ReaL: any of an image's classes is right, images without a class are left out."""

import dataclasses
import json
from pathlib import Path

import pytest

from keras_vit.evaluation.metrics import Accuracy
from keras_vit.evaluation.real import read_real_labels, real_accuracy
from tests.evaluation.toys import random_predictions

NAMES = tuple(map(str, range(1000)))
PATHS = tuple(Path("val", f"ILSVRC2012_val_{number:08d}.JPEG") for number in (3, 1, 2, 4))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "real.json"
    path.write_text(json.dumps([[5, 1], [], [0], [999, 4]]))
    return path


def predictions_of(best):
    """Predictions for PATHS; the true classes do not matter here."""
    found = random_predictions(4, NAMES)
    found.best[:] = best
    return dataclasses.replace(found, paths=PATHS)


def test_the_number_in_the_name_is_the_position_of_the_labels(file):
    labels = read_real_labels(file, PATHS, 1000)
    assert [labels[path] for path in PATHS] == [[0], [5, 1], [], [999, 4]]


def test_any_class_counts_and_images_without_one_do_not(file):
    labels = read_real_labels(file, PATHS, 1000)
    found = predictions_of([[0, 10, 11, 12, 13], [10, 11, 12, 13, 5], [0, 1, 2, 3, 4], [10, 11, 12, 13, 14]])
    assert real_accuracy(found, labels) == Accuracy(images=3, correct=1, correct5=2, k=5)


def test_no_image_that_counts(file):
    with pytest.raises(ValueError, match="None of the 4"):
        real_accuracy(predictions_of(0), dict.fromkeys(PATHS, []))


@pytest.mark.parametrize("name", ["cat.JPEG", "ILSVRC2012_val_00000005.JPEG", "ILSVRC2012_val_00000000.JPEG"])
def test_other_images_are_refused(file, name):
    with pytest.raises(ValueError, match=f"{name}: expected .*ILSVRC2012_val_00000004.JPEG"):
        read_real_labels(file, [Path(name)], 1000)


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[1, 2]", '[["a"]]', "[[1000]]", "[[-1]]", "[[true]]"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "real.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="real.json"):
        read_real_labels(path, PATHS, 1000)


def test_models_of_other_classes_are_refused(file):
    with pytest.raises(ValueError, match="has 21843"):
        read_real_labels(file, PATHS, 21843)
