"""The files of a report against its predictions."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from keras_vit.evaluation import accuracy
from keras_vit.evaluation.calibration import calibration
from keras_vit.evaluation.metrics import Accuracy, tallies_of
from keras_vit.evaluation.report import write_predictions, write_report
from tests.evaluation.toys import LABELS, predictions, predictor_of, random_predictions


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def found():
    bad = ((Path("x.png"), "x.png cannot be read"),)
    return dataclasses.replace(random_predictions(200, LABELS), bad=bad)


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new"
    write_report(folder, predictor_of([]), found, Accuracy(2, 1, 2, 5))
    return folder


def test_all_files(folder):
    expected = ["calibration.csv", "classes.csv", "confusion.png", "confusions.csv", "metrics.json", "reliability.png"]
    assert sorted(path.name for path in folder.iterdir()) == expected
    for name in ("confusion.png", "reliability.png"):
        with Image.open(folder / name) as image:
            image.load()


def test_metrics(folder, found):
    metrics = json.loads((folder / "metrics.json").read_text())
    counted = accuracy(found)
    assert (metrics["top1"], metrics["top5"], metrics["n_images"], metrics["k"]) == (counted.top1, counted.top5, 200, 5)
    tallies = tallies_of(found)
    assert metrics["balanced_accuracy"] == 100 * tallies.balanced_accuracy
    assert metrics["macro_f1"] == 100 * tallies.macro_f1 and "unknown" not in metrics
    assert metrics["expected_calibration_error"] == calibration(found).error
    assert metrics["mean_confidence"] == pytest.approx(float(found.scores[:, 0].mean()), abs=1e-6)
    assert metrics["imagenet_real"] == {"n_images": 2, "top1": 50, "top5": 100, "k": 5}
    assert metrics["unreadable"] == [{"path": "x.png", "reason": "x.png cannot be read"}]


def test_tables(folder, found):
    classes, pairs, bins = (read(folder / f"{name}.csv") for name in ("classes", "confusions", "calibration"))
    assert [row["class"] for row in classes] == list(LABELS)
    assert [row["precision"] for row in classes] == [f"{100 * one:.3f}" for one in tallies_of(found).precision]
    assert [row["f1"] for row in classes] == [f"{100 * one:.3f}" for one in tallies_of(found).f1]
    assert sum(int(row["n"]) for row in classes) == 200 == sum(int(row["n"]) for row in bins)
    correct = sum(int(row["correct"]) for row in classes)
    assert correct + sum(int(row["pictures"]) for row in pairs) == 200
    worst = next(row for row in pairs if row["class"] == "c")
    assert (classes[2]["most_often_taken_for"], classes[2]["times"]) == (worst["taken_for"], worst["pictures"])
    assert LABELS.index(worst["taken_for"]) == int(worst["taken_for_number"])
    assert len(bins) == 15 and (bins[0]["above"], bins[14]["up_to"]) == ("0.0000", "1.0000")
    assert all((row["accuracy"] == "") == (row["n"] == "0") for row in bins)


def test_the_file_of_predictions_has_a_line_per_image(tmp_path):
    found = predictions([1, 4], [[0.1, 0.2, 0.7, 0, 0], [0.5, 0.25, 0.15, 0.1, 0]], "abcde", k=3)
    write_predictions(tmp_path / "p.csv", found)
    first, second = read(tmp_path / "p.csv")
    assert first == {
        **{"path": "0.png", "class": "1", "label": "b", "rank": "2"},
        **{"class_1": "2", "label_1": "c", "score_1": "0.7"},
        **{"class_2": "1", "label_2": "b", "score_2": "0.2"},
        **{"class_3": "0", "label_3": "a", "score_3": "0.1"},
    }
    assert (second["rank"], second["label_1"]) == ("", "a")
