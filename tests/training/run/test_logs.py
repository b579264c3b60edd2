import csv
import json

from keras_vit.training.run import logs
from tests.training import toy


def row(epoch):
    return {name: epoch + 0.123456789 for name in logs.SUMMARY} | {"epoch": epoch}


def test_settings_are_read_as_written(tmp_path):
    settings = json.loads(json.dumps(toy.recipe().settings())) | {"note": "a: b\n#c", "classes": ["x"]}
    logs.write_settings(tmp_path, settings)
    assert logs.read_settings(tmp_path) == settings
    assert logs.read_settings(tmp_path / "elsewhere") is None


def test_settings_are_yaml(tmp_path):
    logs.write_settings(tmp_path, {"model": "SwinT", "lr": 0.001, "flip": True, "weights": None})
    lines = (tmp_path / "args.yaml").read_text().splitlines()
    assert lines == ['model: "SwinT"', "lr: 0.001", "flip: true", "weights: null"]


def test_the_first_columns_of_the_summary_are_timms(tmp_path):
    logs.write_summary(tmp_path, [row(0), row(1)])
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    first = ["epoch", "train_loss", "eval_loss", "eval_top1", "eval_top5", "lr"]
    assert list(rows[0])[:6] == first
    assert rows[1]["epoch"] == "1" and rows[1]["lr"] == "1.12346"


def test_bad_files_are_listed_and_without_any_there_is_no_list(tmp_path):
    splits = ("train", "validation", "test")
    logs.write_bad_files(tmp_path, [(split, "a.png", "is cut") for split in splits])
    expected = [f"{name}\ta.png\tis cut" for name in ("train", "val", "held_out")]
    assert (tmp_path / "bad_files.txt").read_text().splitlines() == expected
    logs.write_bad_files(tmp_path, [("train", "caf\udce9.png", "is cut")])  # a name that is no UTF-8
    assert (tmp_path / "bad_files.txt").read_bytes() == b"train\tcaf\xe9.png\tis cut\n"
    logs.write_bad_files(tmp_path, [])
    assert not (tmp_path / "bad_files.txt").exists()
