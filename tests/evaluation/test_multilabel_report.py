"""The files of a report of several labels against the predictions."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_vit.evaluation import accuracy
from keras_vit.evaluation.calibration import calibration
from keras_vit.evaluation.multilabel_report import write_multilabel_predictions, write_multilabel_report
from keras_vit.evaluation.unknown import Separation
from tests.evaluation.toys import LABELS, predictor_of, several_predictions


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def found():
    return dataclasses.replace(several_predictions(), bad=((Path("x.png"), "x.png cannot be read"),))


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new"
    known, unknown = np.float32([3, 4, 5]), np.float32([1, 2, 4.5])
    write_multilabel_report(folder, predictor_of([]), found, Separation("energy", 2.5, known, unknown))
    return folder


def test_all_files(folder):
    figures = ["classes.png", "reliability.png", "unknown.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*figures, "calibration.csv", "classes.csv", "metrics.json"]
    )
    for name in figures:
        with Image.open(folder / name) as image:
            assert image.convert("L").getextrema()[0] < 100


def test_metrics_are_in_percent(folder, found):
    metrics, measured = json.loads((folder / "metrics.json").read_text()), accuracy(found)
    assert metrics["map"] == 100 * measured.map and metrics["n_images"] == 200
    assert metrics["micro_f1"] == 100 * measured.tallies.micro_f1
    assert metrics["macro_f1"] == 100 * measured.tallies.macro_f1
    assert metrics["exact"] == measured.exact / 2 and metrics["labels"] == found.labels.sum()
    assert metrics["expected_calibration_error"] == calibration(found).error
    assert metrics["unknown"]["rejected"] == pytest.approx(200 / 3) and metrics["unknown"]["kept"] == 100
    assert metrics["unreadable"] == [{"path": "x.png", "reason": "x.png cannot be read"}]


def test_a_class_is_a_line_and_one_without_images_has_no_recall(folder, found):
    rows, measured = read(folder / "classes.csv"), accuracy(found)
    assert [row["class"] for row in rows] == list(LABELS)
    assert [int(row["n"]) for row in rows] == found.labels.sum(0).tolist() and rows[-1]["n"] == "0"
    assert [int(row["predicted"]) for row in rows] == found.predicted.sum(0).tolist()
    assert rows[1]["average_precision"] == f"{100 * measured.average_precision[1]:.3f}"
    assert rows[1]["threshold"] == f"{found.thresholds[1]:.6g}"
    assert (rows[-1]["average_precision"], rows[-1]["recall"], rows[-1]["f1"]) == ("", "", "")
    assert rows[-1]["precision"] == "0.000"


def test_predictions_name_the_classes_that_an_image_has_and_those_predicted(tmp_path, found):
    write_multilabel_predictions(tmp_path / "p.csv", found)
    rows = read(tmp_path / "p.csv")
    for row, has, given, scores in zip(rows, found.labels, found.predicted, found.scores):
        assert row["labels"] == "|".join(np.array(LABELS)[has])
        assert row["predicted"] == "|".join(np.array(LABELS)[given])
        written = [float(score) for score in row["scores"].split("|") if score]
        np.testing.assert_allclose(written, scores[given], rtol=1e-5)
    assert "" in {row["predicted"] for row in rows}  # a case of none is among them
