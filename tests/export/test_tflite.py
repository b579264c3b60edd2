import dataclasses
import hashlib
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export import flatbuffer, parity, tflite
from keras_vit.export.compare import compare
from keras_vit.export.edge_report import as_table
from keras_vit.export.quantise import Quantiser
from keras_vit.export.replay import tflite_interpreter, tflite_predictor
from keras_vit.export.source import Source
from keras_vit.export.tflite import convert, file_name
from keras_vit.predictor import open_predictor
from tests.export import toys

FILES = {"toys_16x24_fp32.tflite", "toys_16x24_dynamic_int8.tflite"}


@keras.saving.register_keras_serializable("tests")
class Bessel(keras.layers.Layer):
    """Has an operator that TFLite knows in no form."""

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
    single, quantised = (file["size_bytes"] for file in report["files"])
    assert quantised < 0.7 * single


@pytest.mark.parametrize("name", sorted(FILES))
def test_batch_1_static_shapes_builtin_operators(converted, name):
    contents = flatbuffer.inspect_file(converted[0] / name)
    assert (contents.foreign, contents.dynamic, contents.max_rank) == ((), (), 4)
    assert list(contents.inputs.values()) == [(1, 16, 24, 3)]
    assert list(contents.outputs.values()) == [(1, 6)]
    assert contents.operators["FULLY_CONNECTED"] == 2


def test_one_picture_by_name_gives_what_keras_gives(converted, expected):
    predict = tflite_predictor(str(converted[0] / "toys_16x24_fp32.tflite"), 1)
    answer = predict(expected.images[3:4].astype("float32"))
    np.testing.assert_allclose(answer, expected.probabilities[3:4], atol=1e-5)


def test_the_report_has_the_figures(converted, toy_run):
    report = converted[1]
    single, quantised = report["files"]
    assert (single["quant"], single["n_images"], single["dataset"]) == ("none", 12, "held-out")
    assert single["float_top1"] == single["top1"] == pytest.approx(100 * 11 / 12)
    assert single["largest_difference"] <= single["limits"]["largest_difference"] == 1e-4
    assert quantised["agreement"] >= quantised["limits"]["agreement"] == 0.99
    assert single["largest_difference"] < quantised["largest_difference"] < 0.1
    assert single["sqnr_db"] > quantised["sqnr_db"] > 20
    assert report["weights_sha256"] == hashlib.sha256((toy_run / "model.keras").read_bytes()).hexdigest()
    assert report["calibration"] is None and quantised["float_fallback_layers"] == []
    assert all(
        file["within_limits"] and (file["input"], file["output"]) == ("float32",) * 2 for file in report["files"]
    )


def test_files_are_measured_as_they_are_published(integer, expected):
    folder, report = integer
    for file in report["files"]:
        predict = tflite_predictor(str(folder / file["file"]), 1)
        answered = np.concatenate([predict(image[np.newaxis].astype("float32")) for image in expected.images])
        assert file["top1"] == 100 * (answered.argmax(-1) == expected.classes).mean()
        assert (folder / file["file"]).stat().st_size == file["size_bytes"]


def test_integer_files_take_bytes_and_give_bytes(integer):
    folder, report = integer
    assert [file["quant"] for file in report["files"]] == ["float16", "int8", "int16x8"]
    assert report["calibration"] == {"n_images": 12, "pictures": "given", "skipped": 0}
    for file in report["files"][1:]:
        interpreter = tflite_interpreter(str(folder / file["file"]), 1)
        (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
        assert (taken["dtype"], taken["quantization"]) == (np.uint8, (1.0, 0))
        assert (given["dtype"], given["quantization"]) == (np.uint8, (pytest.approx(1 / 255), 0))
        assert (file["input"], file["output"]) == ("uint8", "uint8")


def test_predictor_and_compare_run_integer_files(integer, toy_source, expected):
    folder, report = integer
    path = folder / report["files"][1]["file"]
    answered = open_predictor(path).predict(expected.files)
    np.testing.assert_allclose(answered, expected.probabilities, atol=0.05)
    rows = compare(toy_source, [("tflite", path)], expected, runs=2)
    assert rows[1].accuracy == pytest.approx(11 / 12) and rows[1].latency_ms > 0


@pytest.fixture
def quick(float_file, monkeypatch):
    """Conversions take over the float file that there is."""
    monkeypatch.setattr(tflite, "run_converter", lambda source, path, _: shutil.copyfile(float_file, path))


@pytest.mark.parametrize(
    "layer, operator",
    [(Wrapped(name="odd"), "Digamma"), pytest.param(Bessel(name="odd"), "BesselI0", marks=pytest.mark.slow)],
)
def test_an_operator_outside_the_builtins_is_named(toy_source, expected, tmp_path, layer, operator):
    source = Source(toys.toy_model(layer=layer), toy_source.spec, toy_source.labels, "odd_toy")
    with pytest.raises(ValueError, match=rf"odd_toy cannot .* runtimes lack: {operator} \(in .*/odd"):
        convert(source, tmp_path / "edge", ["none"], expected)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def bad_answers(replayed, quick, monkeypatch):
    """Files give their classes' probabilities in the wrong order."""
    wrong = {**replayed[1], "probabilities": replayed[1]["probabilities"][:, ::-1]}
    monkeypatch.setattr(parity, "replay_all", lambda *arguments: [wrong])


def test_above_the_limits_nothing_is_kept(toy_source, expected, bad_answers, tmp_path):
    with pytest.raises(ValueError, match=r"int8.tflite.*with all of its 3 layers float.*not kept.*\(at least 99.00%\)"):
        tflite.convert(toy_source, tmp_path / "edge", ["dynamic_int8"], expected)
    assert list(tmp_path.iterdir()) == []


def test_above_the_limits_a_file_is_written_by_force_and_says_so(toy_source, expected, bad_answers, tmp_path):
    report = tflite.convert(toy_source, tmp_path, ["none"], expected, force=True)
    (file,) = json.loads((tmp_path / "report.json").read_text())["files"]
    assert file == report["files"][0] and not file["within_limits"]
    assert "EXCEEDS ITS LIMITS" in as_table(report)
    assert (tmp_path / "disagreements.png").is_file()


def test_layers_stay_float_until_the_file_holds(toy_source, expected, quick, monkeypatch, tmp_path):
    """The head is the layer that is missed: its input alone is given a range a thousand times too wide."""
    measured = Quantiser._measured

    def widened(quantiser):
        ranges = dict(measured(quantiser))
        return ranges | {
            "StatefulPartitionedCall/toy_1/norm_1/add_2": {"min": np.array([-4000.0]), "max": np.array([4000.0])}
        }

    monkeypatch.setattr(Quantiser, "_measured", widened)
    report = tflite.convert(toy_source, tmp_path, ["int8"], expected)
    (file,) = report["files"]
    assert file["float_fallback_layers"] == ["head"] and file["within_limits"]
    assert "int8 keeps float: head" in as_table(report)


def test_probabilities_that_bytes_cannot_tell_apart_are_given_as_float(expected):
    close = np.array([[0.4001, 0.3999, 0.2], [0.1, 0.3999, 0.4001]], np.float32)
    small = dataclasses.replace(expected, classes=None, kind="noise", probabilities=close)
    assert not tflite._may_be_rounded(close, small, {"cosine": 0.999})
    apart = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], np.float32)
    assert tflite._may_be_rounded(apart, dataclasses.replace(small, probabilities=apart), {"cosine": 0.999})


def test_another_models_folder_is_left_alone(toy_source, expected, converted):
    other = dataclasses.replace(toy_source, name="other")
    with pytest.raises(ValueError, match="holds the files of 'toys'"):
        convert(other, converted[0], ["none"], expected)


def test_unknown_quantisations(toy_source, expected, tmp_path):
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
