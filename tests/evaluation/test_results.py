"""The file of results: timm's columns, a line per measurement, replaced by a new one of the same setup."""

import csv
import dataclasses

import pytest

from keras_vit.evaluation.metrics import Accuracy
from keras_vit.evaluation.results import HEADER, TIMM, read_results, result, write_result
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import Spec
from keras_vit.weights.download import sha256

SPEC = Spec((224, 224), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), crop_pct=0.875)


@pytest.fixture
def predictor(tmp_path):
    (tmp_path / "weights").write_text("x")
    labels = tuple("abcdefg")
    return Predictor("tflite", "swin_t_int8", labels, SPEC, None, tmp_path / "weights", 28_288_354)


def test_a_line(predictor):
    row = result(predictor, Accuracy(3, 2, 3, 5))
    assert ",".join(HEADER).startswith("model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation,")
    assert ",".join(row[column] for column in TIMM) == (
        "swin_t_int8,224,66.667,33.333,100.000,0.000,28.29,0.875,bicubic"
    )
    ours = [row[column] for column in HEADER[len(TIMM) :]]
    assert ours == ["litert", "int8", "3", sha256(predictor.weights)]


def test_columns_that_do_not_apply_stay_empty(predictor):
    bare = dataclasses.replace(predictor, spec=None, weights=None, parameters=None, kind="SavedModel", top_k=2)
    row = result(bare, Accuracy(3, 2, 3, 2))
    empty = ["img_size", "top5", "top5_err", "param_count", "crop_pct", "interpolation", "weights_sha256"]
    assert [column for column in HEADER if row[column] == ""] == empty
    wide = dataclasses.replace(predictor, spec=dataclasses.replace(SPEC, size=(6, 8)))
    assert result(wide, Accuracy(3, 2, 3, 5))["img_size"] == "6x8"


def test_a_line_is_added_or_replaces_that_of_the_same_setup(predictor, tmp_path):
    path = tmp_path / "new" / "results.csv"
    names = ("a", "b", "c")
    for name in names:
        write_result(path, result(dataclasses.replace(predictor, name=name), Accuracy(100, 50, 80, 5)))
    again = result(dataclasses.replace(predictor, name="b"), Accuracy(200, 150, 180, 5))
    write_result(path, again)
    rows = read_results(path)
    assert [(row["model"], row["top1"], row["n_images"]) for row in rows] == [
        ("a", "50.000", "100"),
        ("b", "75.000", "200"),
        ("c", "50.000", "100"),
    ]
    for column, value in (("crop_pct", "1.0"), ("runtime", "keras-jax"), ("weights_sha256", "0"), ("img_size", "384")):
        write_result(path, {**again, column: value})
    assert len(read_results(path)) == 7
    with path.open(newline="") as file:
        assert next(csv.reader(file)) == list(HEADER)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,top1\nx,1\n", "Received: model,top1"),
        ("", "Received: none"),
        (",".join(TIMM) + "\n", "not a file of results"),
        (",".join(HEADER) + "\na,b\n", "line 2: expected 13 columns"),
        (",".join(HEADER) + "\n" + 14 * "a," + "\n", "line 2: expected 13 columns"),
    ],
)
def test_other_files_are_not_overwritten(predictor, tmp_path, text, message):
    path = tmp_path / "results.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        write_result(path, result(predictor, Accuracy(3, 2, 3, 5)))
    assert path.read_text() == text


@pytest.mark.parametrize("content", [b"\xff\xfe", b'"' + b"x" * 200_000, b"a\x00b\n", b"x" * 200_000])
def test_a_file_of_anything_else_is_named(tmp_path, content):
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is not a file of results") as error:
        read_results(path)
    assert len(str(error.value)) < 1000


def test_a_line_is_written_into_a_device_without_reading_it(predictor):
    write_result("/dev/null", result(predictor, Accuracy(3, 2, 3, 5)))
    assert read_results("/dev/zero") == []
