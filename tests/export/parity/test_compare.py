import csv
import dataclasses

import numpy as np
import pytest

from keras_vit.export.model.backbone import open_backbone
from keras_vit.export.parity import parity
from keras_vit.export.parity.compare import Row, as_table, compare, find_artifacts, size_bytes, write_csv
from keras_vit.export.parity.features import expect_features

ROWS = [
    Row("Keras", 12, 0.9166, 1.0, 0.0, 1.5, 2.25, 2),
    Row("a.tflite", 12, None, 0.99, 1.2e-5, 0.1, 10.0, 2),
]


@pytest.fixture
def artifacts(exported, converted, replayed, monkeypatch):
    """What find_artifacts finds, with outputs computed once."""
    served, single, quantized = replayed
    monkeypatch.setattr(parity, "replay_all", lambda *arguments: [served, quantized, single])
    return find_artifacts([exported[0], converted[0]], "toys")


def test_keras_model_saved_model_and_files(toy_source, expected, converted, artifacts):
    assert [kind for kind, _ in artifacts] == ["saved_model", "tflite", "tflite"]
    rows = compare(toy_source, artifacts, expected, runs=3)
    names = ["Keras", "SavedModel", "toys_16x24_dynamic_int8.tflite", "toys_16x24_fp32.tflite"]
    assert [row.artifact for row in rows] == names
    assert all(row.accuracy == pytest.approx(11 / 12) and row.agreement == 1.0 for row in rows)
    assert all(row.latency_ms > 0 and row.size_mb > 0 for row in rows)
    assert rows[3].size_mb == (converted[0] / names[3]).stat().st_size / 1e6
    assert rows[0].largest_difference == 0 < rows[3].largest_difference < rows[2].largest_difference


def test_an_artifact_of_another_model_is_rejected(toy_source, expected, artifacts):
    more = np.pad(expected.probabilities, [(0, 0), (0, 1)])
    with pytest.raises(ValueError, match="6 classes.*made from another model"):
        compare(toy_source, artifacts, dataclasses.replace(expected, probabilities=more), runs=1)


def test_find_artifacts_takes_the_newest_version(tmp_path):
    for name in ("a/2", "a/10", "a/11", "b/1"):
        (tmp_path / "models" / name).mkdir(parents=True)
        if name != "a/11":  # a folder without a model is not a version
            (tmp_path / "models" / name / "saved_model.pb").write_text("x")
    models = tmp_path / "models"
    assert find_artifacts([tmp_path], "a") == [("saved_model", models / "a" / "10")]
    assert find_artifacts([models / "b", models / "a" / "2"], "c") == [
        ("saved_model", models / "b" / "1"),
        ("saved_model", models / "a" / "2"),
    ]
    with pytest.raises(ValueError, match="2 models.*models/a, .*models/b"):
        find_artifacts([tmp_path], "c")
    with pytest.raises(ValueError, match="expected a .tflite file"):
        find_artifacts([tmp_path / "absent"], "c")


def test_size_of_files_and_folders(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "one").write_bytes(b"12345")
    (tmp_path / "deep" / "two").write_bytes(b"123")
    assert (size_bytes(tmp_path / "one"), size_bytes(tmp_path)) == (5, 8)


def test_table():
    head, keras, file = as_table(ROWS).splitlines()
    assert len(head) == len(keras) == len(file)
    assert keras.split() == ["Keras", "12", "91.66", "%", "100.00", "%", "0.0e+00", "1.50", "2.25"]
    assert file.split()[:3] == ["a.tflite", "12", "-"]


def test_csv(tmp_path):
    write_csv(ROWS, tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["accuracy"] == "0.9166" and rows[1]["accuracy"] == ""
    assert list(rows[0])[:2] == ["artifact", "n_images"] and rows[1]["threads"] == "2"


def test_features_are_compared_by_their_cosine(toy_run, tmp_path, monkeypatch):
    source = open_backbone(toy_run)
    expected = expect_features(source, max_images=4)
    right = expected.features["embedding"]
    given = {"embedding": 1.01 * right, "milliseconds": np.array([2.0, 1.0, 9.0])}
    monkeypatch.setattr(parity, "replay_all", lambda *arguments: [given])
    (tmp_path / "a.tflite").write_bytes(b"12")
    artifacts = [("tflite", tmp_path / "a.tflite")]
    keras, file = compare(source, artifacts, expected, runs=1)
    assert (keras.mean_cosine, keras.relative_difference) == (pytest.approx(1), 0)
    assert (file.artifact, file.latency_ms, file.smallest_cosine) == ("a.tflite", 2.0, pytest.approx(1))
    assert file.relative_difference == pytest.approx(0.01 * np.abs(right).max() / right.std(), rel=1e-4)
    assert "difference / std" in as_table([keras, file]).splitlines()[0]
    write_csv([keras, file], tmp_path / "table.csv")
    first, _ = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    assert float(first["smallest_cosine"]) == pytest.approx(1)
    given["embedding"] = right[:, 1:]
    with pytest.raises(ValueError, match=r"expected the features embedding \(64,\). It gives embedding \(63,\)"):
        compare(source, artifacts, expected, runs=1)


def test_features_are_not_compared_with_classes(toy_source, expected, monkeypatch):
    monkeypatch.setattr(parity, "replay_all", lambda *arguments: [{"embedding": np.zeros((12, 64))}])
    with pytest.raises(ValueError, match="gives features, not classes. Add --no-top"):
        compare(toy_source, [("tflite", "a.tflite")], expected, runs=1)
