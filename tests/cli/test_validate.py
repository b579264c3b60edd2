"""`keras-vit validate` over class folders and held-out pictures, and its results file."""

import csv

import pytest
from PIL import Image

from keras_vit.cli.main import main
from keras_vit.cli.validate import HEADER
from keras_vit.runs import Run
from keras_vit.weights.download import sha256
from tests import toy_artifacts as toy


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose held-out pictures are right but for one."""
    folder = toy.write_run(tmp_path_factory.mktemp("run"))
    images = toy.pictures()[:3]
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    Run.write_held_out(folder, [("0.png", 0), ("1.png", 1), ("2.png", 2), ("2.png", 1)])
    return folder


@pytest.fixture
def data(tmp_path):
    """Class folders under data/val: every class once, and 40 of the first."""
    for number, (label, image) in enumerate(zip(toy.LABELS, toy.pictures())):
        folder = tmp_path / "data" / "val" / label
        folder.mkdir(parents=True)
        for copy in range(40 if number == 0 else 1):
            Image.fromarray(image).save(folder / f"{copy}.png")
    return tmp_path / "data"


def test_held_out_pictures(run, capsys):
    assert main(["validate", str(run)]) == 0
    assert "top-1 75.000 %, top-3 100.000 % on 4 pictures" in capsys.readouterr().out


def test_class_folders_and_results_file(run, data, tmp_path, capsys):
    results = tmp_path / "results.csv"
    command = ["validate", str(run), "--data-dir", str(data), "--split", "val"]
    for _ in range(2):
        assert main([*command, "--results-file", str(results), "--batch-size", "5"]) == 0
    rows = list(csv.DictReader(results.read_text().splitlines()))
    assert len(rows) == 2 and list(rows[0]) == HEADER and rows[0] == rows[1]
    wanted = {"model": "colours", "img_size": "6x8", "top1": "100.000", "top1_err": "0.000"}
    wanted |= {"n_images": "42", "quant": "none", "runtime": "keras-tensorflow"}
    wanted |= {"crop_pct": "0.8", "weights_sha256": sha256(run / "model.keras")}
    assert wanted.items() <= rows[0].items()


def test_corrupt_picture_is_named_and_counted(run, data, capsys):
    bad = data / "val" / "red" / "7.png"
    bad.write_bytes(bad.read_bytes()[:40])
    command = ["validate", str(run), "--data-dir", str(data / "val")]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert str(bad) in err and "on 41 pictures, 1 unreadable ones skipped" in out
    assert main([*command, "--max-bad-fraction", "0"]) == 1
    assert "1 of 42" in capsys.readouterr().err


def test_foreign_results_file_is_left_alone(run, tmp_path, capsys):
    results = tmp_path / "results.csv"
    results.write_text("something,else\n")
    assert main(["validate", str(run), "--results-file", str(results)]) == 1
    assert "results.csv" in capsys.readouterr().err
    assert results.read_text() == "something,else\n"


def test_without_pictures(run, tmp_path, capsys):
    assert main(["validate", str(run / "model.keras")]) == 1
    assert "--data-dir" in capsys.readouterr().err
    assert main(["validate", str(run), "--data-dir", str(tmp_path)]) == 1
    assert "no folder with pictures" in capsys.readouterr().err
