import csv
import os

import pytest

from keras_vit.cli import main as command
from tests.training.toy import write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "d", per_class=3)


def test_a_sound_folder_is_said_to_be_so(tmp_path, capsys):
    assert command.main(["check-data", str(write_folder(tmp_path / "d", per_class=10))]) == 0
    assert capsys.readouterr().out == ("30 files of 3 classes\nimages per class: 10\nNothing is wrong with them.\n")


def test_findings_are_a_table_and_a_file_and_what_is_serious_the_exit_code(tmp_path, folder, capsys):
    (folder / "red" / "x.png").write_bytes((folder / "red" / "00.png").read_bytes())
    assert command.main(["check-data", str(folder)]) == 0
    (folder / "red" / "y.png").write_bytes(b"no image")
    assert command.main(["check-data", str(folder), "--csv", str(tmp_path / "found.csv")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].split()[:2] == ["problem", "files"]
    assert lines[-2].startswith("unreadable      1  is replaced, up to max_bad_fraction")
    assert lines[-1].startswith("duplicate       1  ") and lines[-1].endswith("  red/x.png (as red/00.png)")
    with open(tmp_path / "found.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["problem", "path", "detail"],
            ["unreadable", "red/y.png", "no image, or only the beginning of one"],
            ["duplicate", "red/x.png", "as red/00.png"],
        ]


def test_what_became_which_split_and_what_is_not_taken_is_said(tmp_path, capsys):
    write_folder(tmp_path / "Training", 2), write_folder(tmp_path / "Testing", 1, seed=1)
    (tmp_path / "Training" / "red" / "notes.txt").write_text("x")
    assert command.main(["check-data", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "9 files of 3 classes in train, test",
        "splits: Training/ is train, Testing/ is test, a tenth of train is validation",
        "not taken: 1 file (.txt is no image)",
    ]


def test_splits_that_are_not_clear_are_an_error(tmp_path, capsys):
    write_folder(tmp_path / "seg_train", 2), write_folder(tmp_path / "seg_test", 1)
    assert command.main(["check-data", str(tmp_path)]) == 1
    assert "Rename seg_test/ to test/, seg_train/ to train/" in capsys.readouterr().err


def test_names_in_another_encoding_are_printed_and_written(tmp_path, folder, capsys):
    (folder / "red" / os.fsdecode(b"\xe8.png")).write_bytes(b"no image")
    assert command.main(["check-data", str(folder), "--csv", str(tmp_path / "found.csv")]) == 1
    out = capsys.readouterr().out
    assert r"red/\xe8.png (no image" in out
    assert b"red/\xe8.png" in (tmp_path / "found.csv").read_bytes()


def test_no_folder(tmp_path, capsys):
    assert command.main(["check-data", str(tmp_path / "none")]) == 1
    assert "keras-vit check-data: data_dir is not a folder" in capsys.readouterr().err


def test_uneven_classes_are_told_with_what_training_can_do(tmp_path, capsys):
    write_folder(tmp_path / "train", 20), write_folder(tmp_path / "val", 2)
    for path in sorted((tmp_path / "train" / "red").glob("*.png"))[2:]:
        path.unlink()
    assert command.main(["check-data", str(tmp_path)]) == 0
    assert (
        "images per class: train 2 (red) to 20 (blue), 10 : 1; val 2; training can make up for it by --class-weights "
        "or --sampler"
    ) in capsys.readouterr().out.splitlines()
