"""Files for GPUs, from the toy run's float file."""

import json
import shutil

import numpy as np
import pytest

from keras_vit.cli.main import main as command
from keras_vit.export.edge import gpu, target, tflite
from keras_vit.export.edge.report import as_table
from keras_vit.export.model.source import ExportedModel
from keras_vit.export.parity import parity
from tests.export import toys


@pytest.fixture
def quick(float_file, monkeypatch):
    """Conversions use the float file of the fixture."""
    monkeypatch.setattr(tflite, "run_converter", lambda source, path, _: shutil.copyfile(float_file, path))


def made(source, folder, expected, **options):
    return tflite.convert_sizes(
        [(source, expected, None)], folder, ("none", "float16"), runs=1, target="gpu", **options
    )


def test_the_report_has_the_emulation(quick, toy_source, expected, tmp_path):
    report = made(toy_source, tmp_path / "edge", expected)
    assert json.loads((tmp_path / "edge" / "report.json").read_text()) == report
    for file in report["files"]:
        assert gpu.refusals((tmp_path / "edge" / file["file"]).read_bytes()) == []
        found = file["gpu"]
        assert (found["operators"], found["refused"], found["n_images"]) == (file["total_nodes"], 0, 12)
        assert 0 < found["largest_difference"] < 0.01 and found["agreement"] == 1 and found["cosine"] > 0.999
        assert found["overflow"] is None and found["largest_value"]["value"] < 65504
    assert as_table(report).count("a GPU takes all") == 2


def test_files_for_cpus_say_nothing_of_gpus(converted):
    assert not any("gpu" in file for file in converted[1]["files"])


@pytest.mark.parametrize("quantization", ["dynamic_int8", "int8", "int16x8"])
def test_integers_are_not_for_gpus(quantization):
    with pytest.raises(ValueError, match=f"none or float16.*Received: {quantization}; with --target cpu"):
        target.check_quantizations("gpu", ("none", quantization))
    target.check_quantizations("cpu", (quantization,))


def test_unknown_targets():
    with pytest.raises(ValueError, match="Targets are cpu, gpu. Received: 'npu'"):
        target.check_quantizations("npu", ("none",))


def test_what_is_refused_is_named_and_nothing_is_written(quick, toy_source, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(target.for_gpu, "rewrite", lambda graph: None)
    monkeypatch.delitem(gpu.RULES, "GELU")
    with pytest.raises(ValueError, match=r"refuses \d+ operators of toys_16x24_fp32\.tflite.*GELU in gelu: .*list"):
        made(toy_source, tmp_path / "edge", expected, force=True)
    assert not (tmp_path / "edge").exists()


@pytest.mark.slow
def test_activations_in_the_thousands_fit(tmp_path, monkeypatch):
    """A layer normalisation of such needs the rewrite; without it the file is refused, unless it is forced."""
    model = toys.toy_model()
    hidden = model.get_layer("hidden")
    hidden.kernel.assign(3e3 * np.asarray(hidden.kernel))
    source = ExportedModel(model, toys.SPEC, toys.LABELS, "large")
    expected = parity.expect(source, folder=tmp_path)
    report = made(source, tmp_path / "fits", expected)
    assert report["files"][0]["gpu"]["overflow"] is None
    monkeypatch.setattr(target.variances, "scale", lambda graph, images, folder: {})
    with pytest.raises(ValueError, match=r"large_16x24_fp32\.tflite leaves the range of float16 \(65504\) in norm"):
        made(source, tmp_path / "leaves", expected)
    report = made(source, tmp_path / "leaves", expected, force=True)
    assert report["files"][0]["gpu"]["overflow"] == "norm"


def test_the_verb(quick, toy_run, tmp_path, capsys):
    assert command(["convert", str(toy_run), "--output", str(tmp_path / "edge"), "--target", "gpu"]) == 0
    assert {path.name for path in (tmp_path / "edge").glob("*.tflite")} == {
        "toys_16x24_fp32.tflite",
        "toys_16x24_fp16.tflite",
    }
    assert "emulated in float16 on 12 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, message",
    [
        (["--quant", "int8"], "none or float16"),
        (["--format", "onnx"], "--target gpu is for --format tflite"),
    ],
)
def test_errors_of_the_verb(toy_run, tmp_path, options, message, capsys):
    assert command(["convert", str(toy_run), "--output", str(tmp_path / "e"), "--target", "gpu", *options]) != 0
    assert message in capsys.readouterr().err
