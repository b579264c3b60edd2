"""`keras-vit validate` over class folders, CSV files and held-out images, and the files it writes."""

import csv
import json
import sys

import numpy as np
import pytest
from PIL import Image

from keras_vit.cli.main import main
from keras_vit.evaluation.results import HEADER
from keras_vit.models import vit
from keras_vit.models.family import Variant
from keras_vit.prediction.predictor import Predictor
from keras_vit.prediction.tta import augmented
from keras_vit.sources.run_folder import Run
from keras_vit.weights.download import sha256
from tests import toy_artifacts as toy
from tests.evaluation.toys import predictor_of
from tests.export import toys


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose held-out images are right but for one."""
    folder = toy.write_run(tmp_path_factory.mktemp("run"))
    images = toy.random_images()[:3]
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    Run.write_test_images(folder, [("0.png", 0), ("1.png", 1), ("2.png", 2), ("2.png", 1)])
    return folder


@pytest.fixture
def data(tmp_path):
    """Class folders under data/val: every class once, and 40 of the first."""
    for number, (label, image) in enumerate(zip(toy.LABELS, toy.random_images())):
        folder = tmp_path / "data" / "val" / label
        folder.mkdir(parents=True)
        for copy in range(40 if number == 0 else 1):
            Image.fromarray(image).save(folder / f"{copy}.png")
    return tmp_path / "data"


def read(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_held_out_images(run, capsys):
    assert main(["validate", str(run)]) == 0
    assert "top-1 75.000 %, top-3 100.000 % on 4 images" in capsys.readouterr().out


def test_views_are_averaged_and_the_model_is_called_so(run, tmp_path, capsys):
    written = tmp_path / "predictions.csv"
    assert main(["validate", str(run), "--tta", "fivecrop", "--predictions", str(written)]) == 0
    assert ", tta fivecrop (keras run): top-1 " in capsys.readouterr().out
    images = [path for path, _ in Run.open(run).test_images()]
    expected = augmented(Predictor.open(run), "fivecrop").predict(images).max(1)
    np.testing.assert_allclose([float(row["score_1"]) for row in read(written)], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--tta", "hflip", "--unknown", "x"], "--tta averages views. Give one of them"),
        (["--average", "best:2"], "has no checkpoints, and so no epochs to average"),
    ],
)
def test_what_cannot_be_averaged_is_said(run, options, message, capsys):
    assert main(["validate", str(run), *options]) == 1
    assert message in capsys.readouterr().err


def test_class_folders_and_results_file(run, data, tmp_path, capsys):
    results = tmp_path / "results.csv"
    command = ["validate", str(run), "--data-dir", str(data), "--split", "val"]
    for _ in range(2):
        assert main([*command, "--results-file", str(results), "--batch-size", "5"]) == 0
    (row,) = read(results)
    wanted = {"model": "colours", "img_size": "6x8", "top1": "100.000", "top1_err": "0.000"}
    wanted |= {"n_images": "42", "quant": "none", "runtime": "keras-tensorflow"}
    wanted |= {"crop_pct": "0.8", "weights_sha256": sha256(run / "model.keras")}
    assert wanted.items() <= row.items() and tuple(row) == HEADER


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_a_split_by_any_of_its_names_and_what_was_not_taken(run, data, name, capsys):
    (data / "val").rename(data / "Validation")
    (data / "Validation" / "red" / "notes.txt").write_text("x")
    assert main(["validate", str(run), "--data-dir", str(data), "--split", name]) == 0
    out, err = capsys.readouterr()
    assert "top-1 100.000 %" in out
    assert "split: Validation/" in err and "not taken: 1 file (.txt is no image)" in err


def test_every_artifact_has_a_line(run, tmp_path):
    toy.write_saved_model(tmp_path / "colours" / "1")
    toy.write_tflite(tmp_path / "colours_fp32.tflite")
    toy.write_beside(tmp_path)
    command = ["--data-dir", str(run / "held_out.csv"), "--label-order", "numeric"]
    for artifact in (run, tmp_path / "colours", tmp_path / "colours_fp32.tflite"):
        assert main(["validate", str(artifact), *command, "--results-file", str(tmp_path / "r.csv")]) == 0
    rows = read(tmp_path / "r.csv")
    assert [row["runtime"] for row in rows] == ["keras-tensorflow", "savedmodel", "litert"]
    assert [row["quant"] for row in rows] == ["none", "none", "fp32"]
    assert [row["top1"] for row in rows] == ["75.000"] * 3


def test_output_and_predictions(run, tmp_path):
    out = tmp_path / "out"
    assert main(["validate", str(run), "--output", str(out), "--predictions", str(out / "predictions.csv")]) == 0
    assert [(row["class"], row["n"], row["most_often_taken_for"]) for row in read(out / "classes.csv")] == [
        ("red", "1", ""),
        ("green", "2", "deep blue"),
        ("deep blue", "1", ""),
    ]
    assert json.loads((out / "metrics.json").read_text())["top1"] == 75
    (scores,) = toy.expected([run / "2.png"])
    rank = 1 + (scores > scores[1]).sum()
    assert [row["rank"] for row in read(out / "predictions.csv")] == ["1", "1", "1", str(rank)]
    assert {path.name for path in out.glob("*.png")} == {"confusion.png", "reliability.png"}


def test_a_missing_matplotlib_is_told_before_measuring(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["validate", str(run), "--output", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "keras-vit-models[plots]" in err and not (tmp_path / "out").exists()


def test_class_names_and_orders(run, data, tmp_path, capsys):
    for number, label in enumerate(toy.LABELS):
        (data / "val" / label).rename(data / "val" / f"k{number}")
    command = ["validate", str(run), "--data-dir", str(data / "val")]
    assert main(command) == 1
    assert "--class-names" in capsys.readouterr().err
    (tmp_path / "names.txt").write_text("k0\nk1\nk2\n")
    for options in (["--class-names", str(tmp_path / "names.txt")], ["--label-order", "sorted"]):
        assert main([*command, *options]) == 0
        assert "top-1 100.000 %" in capsys.readouterr().out


def test_imagenet_real(tmp_path, capsys, monkeypatch):
    scores = np.zeros((3, 1000), "float32")
    scores[np.arange(3), (5, 7, 7)] = 1
    predictor = predictor_of(scores, labels=tuple(f"label {number}" for number in range(1000)))
    monkeypatch.setattr("keras_vit.prediction.predictor.Predictor.open", lambda *arguments: predictor)
    for number, folder in enumerate(("5", "10", "6"), 1):
        (tmp_path / "val" / folder).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "val" / folder / f"ILSVRC2012_val_{number:08d}.JPEG")
    (tmp_path / "real.json").write_text("[[8, 7], [], [6, 5]]")  # in the order of the images' numbers
    command = ["validate", "SwinT", "--data-dir", str(tmp_path / "val"), "--real-labels", str(tmp_path / "real.json")]
    assert main([*command, "--results-file", str(tmp_path / "r.csv"), "--output", str(tmp_path / "out")]) == 0
    first, second = capsys.readouterr().out.splitlines()  # folders in the order of their names: 10, 5, 6
    assert "top-1 0.000 %" in first and "on 3 images" in first
    assert second == "ImageNet-ReaL: top-1 50.000 %, top-5 50.000 % on 2 images"
    assert [(row["top1"], row["n_images"]) for row in read(tmp_path / "r.csv")] == [("50.000", "2")]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["imagenet_real"]["n_images"] == 2
    (tmp_path / "val" / "6" / "cat.jpg").write_bytes(b"")
    assert main(command) == 1
    assert "cat.jpg: expected an image of ImageNet" in capsys.readouterr().err


def test_corrupt_image_is_named_and_counted(run, data, capsys):
    bad = data / "val" / "red" / "7.png"
    bad.write_bytes(bad.read_bytes()[:40])
    command = ["validate", str(run), "--data-dir", str(data / "val")]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert str(bad) in err and "on 41 images, 1 unreadable skipped" in out
    assert main([*command, "--max-bad-fraction", "0"]) == 1
    assert "1 or more of 42" in capsys.readouterr().err


def test_foreign_results_file_is_refused_before_measuring(run, tmp_path, capsys):
    results = tmp_path / "results.csv"
    results.write_text("something,else\n")
    assert main(["validate", str(run), "--results-file", str(results)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "results.csv" in err
    assert results.read_text() == "something,else\n"


def test_without_images(run, tmp_path, capsys):
    assert main(["validate", str(run / "model.keras")]) == 1
    assert "--data-dir" in capsys.readouterr().err
    assert main(["validate", str(run), "--data-dir", str(tmp_path)]) == 1
    assert "no folder with images" in capsys.readouterr().err


@pytest.fixture(scope="module")
def vit_run(tmp_path_factory):
    """A run of a toy ViT of 16 x 24 pixels, with three held-out images."""
    folder = tmp_path_factory.mktemp("vit")
    model = Variant("Tiny", vit.VIT, vit.Config(12, 1, 2, 8))(weights=None, input_shape=(16, 24, 3), classes=3)
    spec = toy.SPEC.at((16, 24))
    Run.write_description(folder, name="tiny", model_name="Tiny", labels=toy.LABELS, spec=spec)
    model.save(folder / "model.keras")
    for number, image in enumerate(toy.random_images()[:3]):
        Image.fromarray(image).save(folder / f"{number}.png")
    Run.write_test_images(folder, [(f"{number}.png", number) for number in range(3)])
    return folder


def test_several_sizes_give_a_curve_and_a_folder_each(vit_run, tmp_path, capsys):
    out, results = tmp_path / "curve", tmp_path / "results.csv"
    sizes = ["--img-size", "16x24", "8", "8x8"]  # the third is the second
    assert main(["validate", str(vit_run), *sizes, "--output", str(out), "--results-file", str(results)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed[:2]] == [f"tiny (keras run) at {n}" for n in ("16x24", "8")]
    assert [line.split()[0] for line in printed[2:]] == ["size", "16x24", "8"]
    curve = read(out / "sizes.csv")
    large, small = [int(row["multiply_adds"]) for row in curve]
    assert small < large and (out / "sizes.png").is_file()
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"16x24", "8"}
    rows = read(results)
    assert [row["img_size"] for row in rows] == ["16x24", "8"]
    for row, line in zip(rows, curve):
        metrics = json.loads((out / line["img_size"] / "metrics.json").read_text())
        assert f"{metrics['top1']:.3f}" == row["top1"] == line["top1"]


@pytest.mark.slow
def test_one_size_and_crop_are_those_of_the_predictor(vit_run, tmp_path, capsys):
    predictions = tmp_path / "predictions.csv"
    command = ["validate", str(vit_run), "--img-size", "32x40", "--crop-pct", "1", "--predictions", str(predictions)]
    assert main(command) == 0
    assert "tiny (keras run) at 32x40: top-1" in capsys.readouterr().out
    predictor = Predictor.open(vit_run, img_size=(32, 40), crop_pct=1)
    scores = predictor.predict([vit_run / f"{number}.png" for number in range(3)])
    np.testing.assert_allclose([float(row["score_1"]) for row in read(predictions)], scores.max(1), atol=1e-5)


def test_a_size_that_does_not_fit_is_told_before_measuring(vit_run, tmp_path, capsys):
    assert main(["validate", str(vit_run), "--img-size", "32", "20"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "8" in err
    several = ["--img-size", "32", "16", "--predictions", str(tmp_path / "p.csv")]
    assert main(["validate", str(vit_run), *several]) == 1
    assert "--predictions" in capsys.readouterr().err


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A run with several labels per image that is right on all its test images, and rejects two of them."""
    return toys.write_several(tmp_path_factory.mktemp("several"))


def test_of_several_labels_map_and_f1_are_printed(several, capsys):
    assert main(["validate", str(several)]) == 0
    assert capsys.readouterr().out == (
        "several (keras run): mAP 100.000 %, micro F1 100.000 %, macro F1 100.000 %, 100.000 % with exactly their "
        "labels, on 12 images\n"
    )


def test_a_csv_file_of_several_labels_is_measured_and_written(several, tmp_path, capsys):
    rows = Run.open(several).test_images()
    names = ["|".join(toys.LABELS[number] for number in numbers) for _, numbers in rows]
    changed = next(i for i, name in enumerate(names) if name)
    names[changed] = ""  # this image has none of the classes that it is predicted to have
    lines = [f"{path},{name}" for (path, _), name in zip(rows, names)]
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *lines]) + "\n", encoding="utf-8")
    command = ["validate", str(several), "--data-dir", str(tmp_path / "m.csv"), "--output", str(tmp_path / "out")]
    assert main([*command, "--predictions", str(tmp_path / "p.csv")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    hits, wrong = sum(name.count("|") + 1 for name in names if name), len(rows[changed][1])
    assert metrics["micro_f1"] == pytest.approx(100 * 2 * hits / (2 * hits + wrong)) and metrics["labels"] == hits
    assert metrics["exact"] == pytest.approx(100 * 11 / 12)
    assert [row["labels"] for row in read(tmp_path / "p.csv")] == names
    assert f"{metrics['exact']:.3f} % with exactly their labels, on 12 images" in capsys.readouterr().out


def test_images_of_no_class_are_compared_with_the_threshold(several, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    for number in range(4):
        Image.new("RGB", (24, 16), (0, 0, 0)).save(tmp_path / "other" / f"{number}.png")
    command = ["validate", str(several), "--unknown", str(tmp_path / "other"), "--output", str(tmp_path / "out")]
    assert main(command) == 0
    found, printed = json.loads((tmp_path / "out" / "metrics.json").read_text())["unknown"], capsys.readouterr().out
    assert found["n_unknown"] == 4 and found["n_known"] == 12 and found["score"] == "energy"
    assert found["kept"] == pytest.approx(100 * 10 / 12) and found["rejected"] in (0, 100)  # all are the same image
    assert f"AUROC {found['auroc']:.3f} %" in printed and "16.667 % of 12 known ones" in printed
    assert (tmp_path / "out" / "unknown.png").is_file()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--results-file", "r.csv"], "several labels per image, and --results-file top-1 accuracies of one"),
        (["--unknown", "nothing"], "nothing"),
    ],
)
def test_what_cannot_be_measured_is_told(several, options, message, capsys):
    assert main(["validate", str(several), *options]) == 1
    out, err = capsys.readouterr()
    assert message in err and out == ""


def test_a_run_without_a_score_has_no_unknown_images(run, capsys):
    assert main(["validate", str(run), "--unknown", str(run)]) == 1
    assert "has no score by which an image is unknown. Train with --unknown-score" in capsys.readouterr().err


def test_accuracy_is_told_by_class(run, capsys):
    assert main(["validate", str(run)]) == 0
    assert capsys.readouterr().out.endswith(
        "on 4 images; balanced accuracy 83.333 %, macro F1 77.778 %, lowest recall 50.000 % (green)\n"
    )
