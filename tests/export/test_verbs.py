"""export, convert and compare, from their arguments to what they print."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.cli import compare, convert, embed, export
from keras_vit.export.edge import tflite
from keras_vit.export.model.source import open_source
from keras_vit.export.parity.images import read_image
from keras_vit.models import vit
from keras_vit.models.family import Variant
from keras_vit.prediction.embeddings_file import Embeddings, save_embeddings
from keras_vit.prediction.predictor import Predictor
from keras_vit.training.datasets import digits
from keras_vit.training.datasets.splits import fingerprint
from keras_vit.training.recipe import Recipe
from keras_vit.training.run import logs
from tests.export import toys


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


@pytest.mark.slow  # parity/test_parity has the noise
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
    told = report["calibration"].pop("note")
    assert report["calibration"] == {"n_images": 12, "pictures": "given", "skipped": 0} and report["max_loss"] == 1
    assert "only 12 images" in told
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
    assert convert.calibration_of(arguments, toy_source).kind == "training"
    arguments.quant = ["none", "float16"]
    assert convert.calibration_of(arguments, toy_source) is None  # nothing is measured for them
    logs.write_settings(tmp_path, settings | {"data_sha256": "another"})
    arguments.quant = ["dynamic_int8"]
    assert convert.calibration_of(arguments, toy_source) is None  # it can do without
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


@pytest.fixture(scope="module")
def vit_run(tmp_path_factory):
    """A run of a toy ViT of 16 x 24 pixels, whose positions depend on the size."""
    folder = tmp_path_factory.mktemp("vit")
    toy = Variant("Tiny", vit.VIT, vit.Config(12, 1, 2, 8))(weights=None, input_shape=(*toys.SIZE, 3), classes=6)
    draw = np.random.default_rng(0)
    for weight in toy.weights:
        weight.assign(weight + draw.normal(0, 0.2, weight.shape))
    return toys.write_run(folder, toy, 6)


@pytest.mark.slow
def test_files_of_several_sizes_in_one_folder(vit_run, tmp_path, capsys):
    edge = tmp_path / "edge"
    sizes = ["--img-size", "32x40", "16", "--crop-pct", "1"]
    assert convert.main([str(vit_run), *sizes, "--quant", "none", "float16", "--output", str(edge)]) == 0
    names = [f"toys_{size}_{quant}.tflite" for size in ("32x40", "16") for quant in ("fp32", "fp16")]
    printed = capsys.readouterr().out
    assert all(name in printed for name in names) and {path.name for path in edge.glob("*.tflite")} == set(names)
    report = json.loads((edge / "report.json").read_text())
    assert [file["image_size"] for file in report["files"]] == [[32, 40], [32, 40], [16, 16], [16, 16]]
    assert all(file["within_limits"] and file["dataset"] == "test" for file in report["files"])
    assert "32 x 40 pixels (1, 32, 40, 3) or 16 x 16 pixels (1, 16, 16, 3)" in (edge / "README.md").read_text()
    images = [path for path, _ in open_source(vit_run).images]
    for name, size in zip(names[::2], ((32, 40), (16, 16))):
        file, model = Predictor.open(edge / name), Predictor.open(vit_run, img_size=size, crop_pct=1)
        assert file.spec == dataclasses.replace(model.spec, input_values=None) and file.spec.crop_pct == 1
        np.testing.assert_allclose(file.predict(images), model.predict(images), atol=1e-5)
        example = subprocess.run(
            [sys.executable, str(edge / "example.py"), "--model", str(edge / name), str(images[0])],
            capture_output=True,
            text=True,
            check=True,
        )
        best = model.predict(images[:1])[0]
        assert f"{model.labels[best.argmax()]:5}  {100 * best.max():6.2f} %" in example.stdout
    assert compare.main([str(vit_run), str(edge), "--img-size", "16", "--crop-pct", "1"]) == 0
    printed = capsys.readouterr().out
    assert names[2] in printed and names[3] in printed and names[0] not in printed
    with pytest.raises(ValueError, match="another size than the model's, 16x24: 16x16, 32x40.*--img-size"):
        compare.main([str(vit_run), str(edge)])
    with pytest.raises(ValueError, match="crop_pct 1.0; here 0.9.*another --output"):
        convert.main([str(vit_run), "--img-size", "24", "--quant", "none", "--output", str(edge)])


@pytest.mark.slow
def test_an_export_at_another_size_carries_its_preprocessing(vit_run, tmp_path, capsys):
    options = ["--img-size", "32", "--crop-pct", "1", "--any-size", "--batch-sizes", "1"]
    assert export.main([str(vit_run), *options, "--output", str(tmp_path)]) == 0
    served, model = Predictor.open(tmp_path), Predictor.open(vit_run, img_size=32, crop_pct=1)
    assert served.spec == dataclasses.replace(model.spec, input_values=None)
    images = [path for path, _ in open_source(vit_run).images]
    np.testing.assert_allclose(served.predict(images), model.predict(images), atol=1e-5)
    version = tmp_path / "models" / "toys" / "1"
    assert "maps_of_images" in tf.saved_model.load(str(version)).signatures
    report = json.loads((version / "assets.extra" / "report.json").read_text())
    assert report["largest_difference_at_another_size"] <= 1e-5
    with pytest.raises(ValueError, match="--any-size.*are for --format serving"):
        export.main([str(vit_run), "--any-size", "--format", "timm", "--output", str(tmp_path / "timm")])


def test_onnx_is_converted_at_one_size_at_a_time(toy_run, tmp_path):
    arguments = [str(toy_run), "--format", "onnx", "--img-size", "16", "32", "--output", str(tmp_path)]
    with pytest.raises(ValueError, match="Several sizes of --img-size are for --format tflite"):
        convert.main(arguments)


def test_an_opened_source_follows_the_size_and_forgets_the_accuracy(vit_run):
    source = open_source(vit_run, img_size=32, crop_pct=1)
    assert source.model.input_shape == (None, 32, 32, 3) and source.spec.size == (32, 32)
    assert source.spec.crop_pct == 1 and source.accuracy is None
    assert open_source(vit_run, img_size=toys.SIZE).model.input_shape == (None, *toys.SIZE, 3)


@pytest.fixture(scope="module")
def embeddings(toy_run, tmp_path_factory):
    """Vectors of the toys' test images."""
    path = tmp_path_factory.mktemp("index") / "toys.npz"
    assert embed.main([str(toy_run), str(toy_run / "held_out"), "--output", str(path)]) == 0
    return path


def test_features_and_the_nearest_of_stored_vectors(toy_run, tmp_path, embeddings, capsys):
    arguments = [str(toy_run), "--output", str(tmp_path / "edge"), "--no-top", "--quant"]
    assert convert.main([*arguments, "none", "int8", "--index", str(embeddings)]) == 0
    assert "smallest" in capsys.readouterr().out
    report = json.loads((tmp_path / "edge" / "report.json").read_text())
    assert report["features"] == ["embedding"] and "labels.txt" not in os.listdir(tmp_path / "edge")
    single, quantized = report["files"]
    assert single["features"]["embedding"]["shape"] == [1, 64] and single["cosine"] > 0.99999
    assert (quantized["input"], quantized["output"]) == ("uint8", "float32")
    assert quantized["limits"] == {"mean_cosine": 0.998, "cosine": 0.99}
    readme = (tmp_path / "edge" / "README.md").read_text(encoding="utf-8")
    assert "12 vectors" in readme and "- `embedding` (1, 64)" in readme and "$" not in readme
    image = str(toy_run / "held_out" / "03.jpg")
    for file in report["files"]:
        command = [sys.executable, "example.py", "--model", file["file"], "--top", "2", image]
        printed = subprocess.run(command, cwd=tmp_path / "edge", capture_output=True, text=True, check=True).stdout
        assert re.fullmatch(rf"{re.escape(image)}\n  (1.0000|0.999\d)  \S*03.jpg\n  0.\d+  \S*\n", printed)
    with pytest.raises(ValueError, match=r"gives features \(embedding\), not classes"):
        Predictor.open(tmp_path / "edge" / single["file"])
    assert convert.main([*arguments, "none", "--max-images", "2"]) == 0
    assert "index.npz" not in os.listdir(tmp_path / "edge")
    with pytest.raises(ValueError, match="holds files that give embedding, not classes"):
        convert.main([str(toy_run), "--output", str(tmp_path / "edge"), "--quant", "none"])


@pytest.mark.parametrize(
    "options, message",
    [
        (["--no-top", "--maps"], "Received: --no-top, --maps"),
        (["--pooling", "avg"], "Received: --pooling alone"),
        (["--no-top", "--max-loss", "1"], "points of accuracy"),
        (["--no-top", "--labels", "x.txt"], "features have none"),
        (["--no-top", "--format", "web"], "A page shows classes"),
        (["--no-top", "--format", "onnx", "--index", "x.npz"], "--index is for --format tflite"),
        (["--index", "x.npz"], "add --no-top"),
    ],
)
def test_options_that_do_not_go_with_features_are_refused(toy_run, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        convert.main([str(toy_run), "--output", str(tmp_path / "edge"), *options])
    assert not (tmp_path / "edge").exists()


def test_an_index_of_another_model_is_refused(toy_run, tmp_path):
    save_embeddings(tmp_path / "other.npz", Embeddings(("a",), np.ones((1, 7), "float32")))
    with pytest.raises(ValueError, match=r"vectors of 7 numbers, and toys gives embedding \(64,\)"):
        convert.main([str(toy_run), "--output", str(tmp_path / "edge"), "--no-top", "--index", f"{tmp_path}/other.npz"])
