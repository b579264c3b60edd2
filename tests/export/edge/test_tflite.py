import dataclasses
import hashlib
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.edge import tflite
from keras_vit.export.edge.quantize import Quantizer
from keras_vit.export.edge.report import as_table
from keras_vit.export.edge.tflite import convert, file_name
from keras_vit.export.model.source import ExportedModel
from keras_vit.export.parity import parity
from keras_vit.export.parity.compare import compare
from keras_vit.export.tflite_graph import flatbuffer
from keras_vit.prediction.predictor import Predictor
from keras_vit.prediction.tflite_interpreter import open_interpreter, signature_predictor
from tests.export import toys

FILES = {"toys_16x24_fp32.tflite", "toys_16x24_dynamic_int8.tflite"}


@keras.saving.register_keras_serializable("tests")
class Bessel(keras.layers.Layer):
    """Has an operator that TFLite lacks in every form."""

    def call(self, x):
        return x + tf.math.bessel_i0(x)


@keras.saving.register_keras_serializable("tests")
class Wrapped(keras.layers.Layer):
    """Has an operator that only TensorFlow's own kernels (Flex) can run."""

    def call(self, x):
        return x + tf.math.digamma(tf.abs(x) + 1.0)


def test_all_files_are_there(converted):
    folder, report = converted
    names = {path.name for path in folder.iterdir()}
    assert names == FILES | {"labels.txt", "preprocessing.json", "report.json", "example.py", "README.md"}
    assert (folder / "labels.txt").read_text(encoding="utf-8").splitlines() == list(toys.LABELS)
    assert json.loads((folder / "report.json").read_text()) == report
    single, quantized = (file["size_bytes"] for file in report["files"])
    assert quantized < 0.7 * single


@pytest.mark.parametrize("name", sorted(FILES))
def test_batch_1_static_shapes_builtin_operators(converted, name):
    contents = flatbuffer.inspect_file(converted[0] / name)
    assert (contents.foreign, contents.dynamic, contents.max_rank) == ((), (), 4)
    assert list(contents.inputs.values()) == [(1, 16, 24, 3)]
    assert list(contents.outputs.values()) == [(1, 6)]
    assert contents.operators["FULLY_CONNECTED"] == 2


def test_the_signature_gives_what_keras_gives(converted, expected):
    predict = signature_predictor(open_interpreter(converted[0] / "toys_16x24_fp32.tflite", 1))
    output = predict(expected.images[3:4].astype("float32"))
    np.testing.assert_allclose(output, expected.probabilities[3:4], atol=1e-5)


def test_the_report_has_the_figures(converted, toy_run):
    report = converted[1]
    single, quantized = report["files"]
    assert (single["quant"], single["n_images"], single["dataset"]) == ("none", 12, "test")
    assert single["float_top1"] == single["top1"] == pytest.approx(100 * 11 / 12)
    assert single["largest_difference"] <= single["limits"]["largest_difference"] == 1e-4
    assert quantized["agreement"] >= quantized["limits"]["agreement"] == 0.99
    assert single["largest_difference"] < quantized["largest_difference"] < 0.1
    assert single["sqnr_db"] > quantized["sqnr_db"] > 20
    assert report["weights_sha256"] == hashlib.sha256((toy_run / "model.keras").read_bytes()).hexdigest()
    assert report["calibration"] is None and quantized["float_fallback_layers"] == []
    assert all(
        file["within_limits"] and (file["input"], file["output"]) == ("float32",) * 2 for file in report["files"]
    )


def test_figures_are_those_of_the_published_files(integer, expected):
    folder, report = integer
    for file in report["files"]:
        predict = signature_predictor(open_interpreter(folder / file["file"], 1))
        given = np.concatenate([predict(image[np.newaxis].astype("float32")) for image in expected.images])
        assert file["top1"] == 100 * (given.argmax(-1) == expected.classes).mean()
        assert (folder / file["file"]).stat().st_size == file["size_bytes"]


def test_integer_files_take_and_give_uint8(integer):
    folder, report = integer
    assert [file["quant"] for file in report["files"]] == ["float16", "int8", "int16x8"]
    told = dict(report["calibration"])
    assert "only 12 images" in told.pop("note") and told == {"n_images": 12, "pictures": "given", "skipped": 0}
    for file in report["files"][1:]:
        interpreter = open_interpreter(folder / file["file"], 1)
        (taken,), (given,) = (interpreter.get_input_details(), interpreter.get_output_details())
        assert (taken["dtype"], taken["quantization"]) == (np.uint8, (1.0, 0))
        assert (given["dtype"], given["quantization"]) == (np.uint8, (pytest.approx(1 / 255), 0))
        assert (file["input"], file["output"]) == ("uint8", "uint8")


def test_predictor_and_compare_run_integer_files(integer, toy_source, expected):
    folder, report = integer
    path = folder / report["files"][1]["file"]
    given = Predictor.open(path).predict(expected.files)
    np.testing.assert_allclose(given, expected.probabilities, atol=0.05)
    rows = compare(toy_source, [("tflite", path)], expected, runs=2)
    assert rows[1].accuracy == pytest.approx(11 / 12) and rows[1].latency_ms > 0


@pytest.fixture
def quick(float_file, monkeypatch):
    """Conversions use the float file of the fixture."""
    monkeypatch.setattr(tflite, "run_converter", lambda source, path, _: shutil.copyfile(float_file, path))


@pytest.mark.parametrize(
    "layer, operator",
    [(Wrapped(name="odd"), "Digamma"), pytest.param(Bessel(name="odd"), "BesselI0", marks=pytest.mark.slow)],
)
def test_an_operator_outside_the_builtins_is_named(toy_source, expected, tmp_path, layer, operator):
    source = ExportedModel(toys.toy_model(layer=layer), toy_source.spec, toy_source.labels, "odd_toy")
    with pytest.raises(ValueError, match=rf"odd_toy cannot .* runtimes lack: {operator} \(in .*/odd"):
        convert(source, tmp_path / "edge", ["none"], expected)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def wrong_outputs(replayed, quick, monkeypatch):
    """Files give the probabilities in the wrong order."""
    wrong = {**replayed[1], "probabilities": replayed[1]["probabilities"][:, ::-1]}
    monkeypatch.setattr(parity, "replay_all", lambda *arguments: [wrong])


def test_above_the_limits_nothing_is_kept(toy_source, expected, wrong_outputs, tmp_path):
    with pytest.raises(ValueError, match=r"int8.tflite.*with all of its 3 layers float.*not kept.*\(at least 99.00%\)"):
        tflite.convert(toy_source, tmp_path / "edge", ["dynamic_int8"], expected)
    assert list(tmp_path.iterdir()) == []


def test_force_writes_a_file_beyond_the_limits_and_reports_it(toy_source, expected, wrong_outputs, tmp_path):
    report = tflite.convert(toy_source, tmp_path, ["none"], expected, force=True)
    (file,) = json.loads((tmp_path / "report.json").read_text())["files"]
    assert file == report["files"][0] and not file["within_limits"]
    assert "EXCEEDS ITS LIMITS" in as_table(report)
    assert (tmp_path / "disagreements.png").is_file()


def test_layers_stay_float_until_the_file_is_within_its_limits(toy_source, expected, quick, monkeypatch, tmp_path):
    """Only the head's input gets a range a thousand times too wide, so the head must stay float."""
    prepared = Quantizer.prepared

    def widened(quantizer, quantization):
        made = prepared(quantizer, quantization)
        wide = {"min": np.array([-4000.0]), "max": np.array([4000.0])}
        return made._replace(ranges=made.ranges | {"StatefulPartitionedCall/toy_1/norm_1/add_2": wide})

    monkeypatch.setattr(Quantizer, "prepared", widened)
    report = tflite.convert(toy_source, tmp_path, ["int8"], expected)
    (file,) = report["files"]
    assert file["float_fallback_layers"] == ["head"] and file["within_limits"]
    assert "int8 keeps float: head" in as_table(report)


def test_probabilities_that_uint8_cannot_distinguish_stay_float(expected):
    close = np.array([[0.4001, 0.3999, 0.2], [0.1, 0.3999, 0.4001]], np.float32)
    small = dataclasses.replace(expected, classes=None, kind="noise", probabilities=close)
    assert not tflite.may_be_rounded({"probabilities": close}, small, {"cosine": 0.999})
    apart = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], np.float32)
    assert tflite.may_be_rounded(
        {"probabilities": apart}, dataclasses.replace(small, probabilities=apart), {"cosine": 0.999}
    )


def test_another_models_folder_is_rejected(toy_source, expected, converted):
    other = dataclasses.replace(toy_source, name="other")
    with pytest.raises(ValueError, match="holds the files of 'toys'"):
        convert(other, converted[0], ["none"], expected)


def test_unknown_quantizations(toy_source, expected, tmp_path):
    with pytest.raises(ValueError, match="Received: int3"):
        convert(toy_source, tmp_path, ["none", "int3"], expected)
    with pytest.raises(ValueError, match="none given"):
        convert(toy_source, tmp_path, [], expected)
    with pytest.raises(ValueError, match="points of accuracy.*Received: 99"):
        convert(toy_source, tmp_path, ["int8"], expected, max_loss=99)


def test_file_names(toy_source):
    square = dataclasses.replace(toy_source, spec=dataclasses.replace(toy_source.spec, size=(32, 32)))
    assert file_name(square, "none") == "toys_32_fp32.tflite"
    assert file_name(toy_source, "dynamic_int8") == "toys_16x24_dynamic_int8.tflite"
