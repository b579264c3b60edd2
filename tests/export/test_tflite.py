import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export import flatbuffer, parity, tflite
from keras_vit.export.replay import tflite_predictor
from keras_vit.export.source import Source
from keras_vit.export.tflite import convert, file_name
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
    assert names == FILES | {"labels.txt", "preprocessing.json", "report.json"}
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


def test_the_report_has_the_figures(converted):
    single, quantised = converted[1]["files"]
    assert (single["n_images"], single["pictures"]) == (12, "held-out")
    assert single["keras_accuracy"] == single["accuracy"] == pytest.approx(11 / 12)
    assert single["largest_difference"] <= single["tolerance"] == 1e-4
    assert quantised["agreement"] >= quantised["least_agreement"] == 0.99
    assert single["largest_difference"] < quantised["largest_difference"] < 0.1


@pytest.mark.parametrize("layer, operator", [(Bessel(name="odd"), "BesselI0"), (Wrapped(name="odd"), "Digamma")])
def test_an_operator_outside_the_builtins_is_named(toy_source, expected, tmp_path, layer, operator):
    source = Source(toys.toy_model(layer=layer), toy_source.spec, toy_source.labels, "odd_toy")
    with pytest.raises(ValueError, match=rf"odd_toy cannot .* runtimes lack: {operator} \(in .*/odd"):
        convert(source, tmp_path / "edge", ["none"], expected)
    assert list(tmp_path.iterdir()) == []


def test_above_the_tolerance_nothing_is_kept(toy_source, expected, converted, replayed, monkeypatch, tmp_path):
    def copy(source, files, folder):
        for path in files.values():
            shutil.copyfile(converted[0] / path.name, path)

    good, bad = replayed[1], {"probabilities": replayed[1]["probabilities"][:, ::-1]}
    monkeypatch.setattr(tflite, "run_converter", copy)
    monkeypatch.setattr(parity, "replay_all", lambda *arguments: [good, bad])
    with pytest.raises(ValueError, match=r"int8.tflite.*not kept.*agreement .* \(at least 99 %\)"):
        tflite.convert(toy_source, tmp_path / "edge", expected=expected)
    assert list(tmp_path.iterdir()) == []


def test_another_models_folder_is_left_alone(toy_source, expected, converted):
    other = dataclasses.replace(toy_source, name="other")
    with pytest.raises(ValueError, match="holds the files of 'toys'"):
        convert(other, converted[0], ["none"], expected)


def test_unknown_quantisations(toy_source, expected, tmp_path):
    with pytest.raises(ValueError, match="Received: int3"):
        convert(toy_source, tmp_path, ["none", "int3"], expected)
    with pytest.raises(ValueError, match="none given"):
        convert(toy_source, tmp_path, [], expected)


def test_file_names(toy_source):
    square = dataclasses.replace(toy_source, spec=dataclasses.replace(toy_source.spec, size=(32, 32)))
    assert file_name(square, "none") == "toys_32_fp32.tflite"
    assert file_name(toy_source, "dynamic_int8") == "toys_16x24_dynamic_int8.tflite"
