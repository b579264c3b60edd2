"""A model at several sizes: what is counted, timed and written."""

import csv
import dataclasses

import numpy as np
import pytest
from PIL import Image

from keras_vit.evaluation.metrics import Accuracy, accuracy
from keras_vit.evaluation.sizes import AtSize, as_table, at_size, write_sizes
from keras_vit.prediction.predictor import keras_predictor
from keras_vit.preprocessing import Spec
from tests import toy_artifacts
from tests.evaluation.toys import several_predictions
from tests.wrapped_models import SPEC as WRAPPED
from tests.wrapped_models import classifier

SPEC = Spec((16, 24), (0.5,) * 3, (0.25,) * 3, crop_pct=0.9)
MEASURED = [
    AtSize(SPEC, Accuracy(40, 20, 30, 5), 1_234_000_000, 2.5),
    AtSize(SPEC.at(32), Accuracy(40, 25, 36, 5), 5_000_000_000, 10.0),
]


def test_a_table_has_a_row_per_size():
    head, *rows = [line.split() for line in as_table(MEASURED).splitlines()]
    assert head == ["size", "top-1", "%", "top-5", "%", "GMACs", "ms/image"]
    assert rows == [["16x24", "50.000", "75.000", "1.23", "2.5"], ["32", "62.500", "90.000", "5", "10"]]


def test_real_labels_get_a_column_and_what_cannot_be_counted_a_dash():
    real = dataclasses.replace(MEASURED[0], real=Accuracy(10, 9, 10, 5), multiply_adds=None)
    head, row = as_table([real]).splitlines()
    assert head.endswith("ReaL %") and row.split()[3:] == ["-", "2.5", "90.000"]


def test_the_files(tmp_path):
    write_sizes(tmp_path / "new", MEASURED, "toy (a run)")
    with open(tmp_path / "new" / "sizes.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["img_size"], first["crop_pct"], first["top1"], first["multiply_adds"]) == (
        "16x24",
        "0.9",
        "50.000",
        "1234000000",
    )
    assert (second["img_size"], second["ms_per_image"], second["n_images"], second["real_top1"]) == (
        "32",
        "10.0000",
        "40",
        "",
    )
    assert np.asarray(Image.open(tmp_path / "new" / "sizes.png").convert("L")).min() < 100


def test_multiply_adds_are_those_of_the_size():
    model = classifier()
    predictor = keras_predictor("keras model", "toy", model, WRAPPED, None, None, "normalized")
    one = at_size(predictor, Accuracy(2, 1, 2, 3), batch_size=32)
    assert one.multiply_adds == 6 * 8 * 4 * 27 + 4 * 3 and one.milliseconds > 0
    assert one.spec is predictor.spec


@pytest.mark.parametrize("size", [(6, 8), (12, 10)])
def test_a_model_of_any_size_is_counted_at_the_predictors(size):
    import keras

    image = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 1)(image))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))
    spec = toy_artifacts.SPEC.at(size)
    predictor = keras_predictor("keras model", "toy", model, spec, None, None, "normalized")
    assert at_size(predictor, Accuracy(1, 1, 1, 3)).multiply_adds == size[0] * size[1] * 12 + 12


def test_of_several_labels_map_and_macro_f1_stand_for_the_accuracies(tmp_path):
    counted = accuracy(several_predictions())
    measured = [AtSize(SPEC, counted, 1_000_000_000, 2.5), AtSize(SPEC.at(32), counted, 2_000_000_000, 5.0)]
    head, row, _ = as_table(measured).splitlines()
    assert head.split() == ["size", "mAP", "%", "macro", "F1", "%", "GMACs", "ms/image"]
    write_sizes(tmp_path, measured, "toy")
    with open(tmp_path / "sizes.csv", newline="") as file:
        first, _ = csv.DictReader(file)
    assert (
        (first["map"], first["macro_f1"])
        == tuple(row.split()[1:3])
        == (
            f"{100 * counted.map:.3f}",
            f"{100 * counted.tallies.macro_f1:.3f}",
        )
    )
