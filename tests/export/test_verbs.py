"""export, convert and compare, from their arguments to what they print."""

import json
import shutil

import pytest

from keras_vit.cli import compare, convert, export
from keras_vit.export.edge import tflite
from keras_vit.export.parity.parity import read_image
from keras_vit.training.datasets import digits
from keras_vit.training.datasets.splits import fingerprint
from keras_vit.training.recipe import Recipe
from keras_vit.training.run import logs


def test_export_convert_compare(toy_run, tmp_path, capsys):
    serving, edge, table = (str(tmp_path / name) for name in ("serving", "edge", "table.csv"))
    arguments = [str(toy_run), "--max-images", "4", "--output"]
    assert export.main([*arguments, serving, "--name", "mine", "--top-k", "2"]) == 0
    assert "models/mine/1" in capsys.readouterr().out
    assert convert.main([*arguments, edge, "--quant", "none"]) == 0
    printed = capsys.readouterr().out
    assert "toys_16x24_fp32.tflite" in printed and "4 test images" in printed
    assert not list(tmp_path.glob("edge/*int8*"))
    assert compare.main([str(toy_run), serving, edge, "--csv", table, "--max-images", "4"]) == 0
    printed = capsys.readouterr().out
    assert "SavedModel" in printed and "toys_16x24_fp32.tflite" in printed
    assert (tmp_path / "table.csv").read_text().count("\n") == 4


def test_a_model_without_images_is_checked_on_noise(toy_run, tmp_path, capsys):
    spec = str(toy_run / "preprocessing.json")
    arguments = [str(toy_run / "model.keras"), "--preprocessing", spec, "--output", str(tmp_path)]
    assert convert.main(arguments) == 0
    assert "16 noise images" in capsys.readouterr().out


def test_ranges_are_measured_on_given_images(toy_run, float_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tflite, "run_converter", lambda source, path, _: shutil.copyfile(float_file, path))
    arguments = [str(toy_run), "--output", str(tmp_path), "--quant", "int8", "--max-loss", "1"]
    assert convert.main([*arguments, "--calibration", str(toy_run / "held_out")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["calibration"] == {"n_images": 12, "pictures": "given", "skipped": 0} and report["max_loss"] == 1
    assert convert.main(arguments) == 0  # this run has no record of its training images
    assert "--calibration with a few hundred real images is better" in capsys.readouterr().out


def test_ranges_are_measured_on_a_runs_training_images(toy_source, tmp_path):
    data_set = digits.load()
    settings = Recipe(model="ViTTi16", dataset="digits").settings()
    logs.write_settings(tmp_path, settings | {"data_sha256": fingerprint(data_set)})
    arguments = convert.parser().parse_args([str(tmp_path), "--output", "edge", "--quant", "int8"])
    calibrated = convert.calibration_of(arguments, toy_source)
    assert calibrated.report() == {"n_images": 200, "pictures": "training", "skipped": 0}
    held_out = [read_image(name, data_set.test.read(i), toy_source.spec) for i, name in enumerate(data_set.test.names)]
    assert not {image.tobytes() for image in held_out} & {image.tobytes() for image in calibrated.images}
    arguments.quant = ["none", "dynamic_int8"]
    assert convert.calibration_of(arguments, toy_source) is None
    logs.write_settings(tmp_path, settings | {"data_sha256": "another"})
    arguments.quant = ["int16x8"]
    with pytest.raises(ValueError, match="have changed since.* with --calibration"):
        convert.calibration_of(arguments, toy_source)


@pytest.mark.parametrize("verb", [export, convert, compare])
def test_help_and_missing_arguments(verb, capsys):
    with pytest.raises(SystemExit) as done:
        verb.main(["--help"])
    assert done.value.code == 0 and "MODEL_OR_RUN" in capsys.readouterr().out
    with pytest.raises(SystemExit) as done:
        verb.main([])
    assert done.value.code == 2
