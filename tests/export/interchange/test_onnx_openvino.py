import dataclasses
import importlib
import json
import re

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import numpy_helper

from keras_vit.cli import main as command
from keras_vit.export.interchange import onnx_openvino, replay
from keras_vit.export.model.backbone import open_backbone
from keras_vit.export.model.inference import probabilities
from keras_vit.export.model.source import ExportedModel
from keras_vit.export.parity.features import expect_features
from keras_vit.preprocessing import Spec
from tests.export import toys
from tests.models.toys import TOYS


@keras.saving.register_keras_serializable("tests")
class Bessel(keras.layers.Layer):
    """Has an operator that ONNX lacks."""

    def call(self, x):
        return x + tf.math.bessel_i0(x)


@pytest.fixture(scope="module")
def written(toy_source, expected, tmp_path_factory):
    """(folder, report) of the toy run's ONNX file."""
    folder = tmp_path_factory.mktemp("onnx")
    return folder, onnx_openvino.convert(toy_source, folder, "onnx", expected)


def test_all_files_are_there(written):
    folder, report = written
    names = {path.name for path in folder.iterdir()}
    assert names == {"toys_16x24.onnx", "labels.txt", "preprocessing.json", "report_onnx.json"}
    assert (folder / "labels.txt").read_text(encoding="utf-8").splitlines() == list(toys.LABELS)
    assert Spec.load(folder / "preprocessing.json").size == toys.SIZE
    assert json.loads((folder / "report_onnx.json").read_text()) == report
    assert report["files"] == {"toys_16x24.onnx": (folder / "toys_16x24.onnx").stat().st_size}
    assert report["n_images"] == 12 and 0 < report["largest_difference"] <= report["tolerance"] == 1e-4
    assert set(report["versions"]) >= {"onnx", "tf2onnx", "onnxruntime", "keras"}


def test_inputs_and_outputs_have_names_and_a_free_batch(written):
    graph = onnx.load(written[0] / "toys_16x24.onnx").graph
    ends = {}
    for end in (*graph.input, *graph.output):
        ends[end.name] = [side.dim_param or side.dim_value for side in end.type.tensor_type.shape.dim]
    assert ends == {"images": ["B", 16, 24, 3], "probabilities": ["B", 6]}


def test_a_family_with_an_exact_gelu(tmp_path):
    variant, shape = TOYS["vit"]
    model = variant(weights=None, input_shape=shape, classes=5)
    model.get_layer("head").kernel.assign(8 * model.get_layer("head").kernel)
    source = ExportedModel(model, Spec(shape[:2], (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)), tuple("abcde"), "vit")
    path = tmp_path / "vit.onnx"
    onnx_openvino.write_onnx(source, path)
    images = np.random.default_rng(0).uniform(0, 255, (3, *shape)).astype("float32")
    reference = probabilities(source)(images)
    assert np.ptp(reference) > 0.1
    np.testing.assert_allclose(replay.onnx(path)(images)["probabilities"], reference, atol=1e-6)


def test_the_verb_prints_files_and_figures(toy_run, tmp_path, capsys):
    arguments = [str(toy_run), "--output", str(tmp_path), "--format", "onnx", "--max-images", "4"]
    assert command.main(["convert", *arguments]) == 0
    assert re.fullmatch(
        r".*/toys_16x24.onnx  0.02 MB\n  4 test images, .* \(at most 1e-04\)\n", capsys.readouterr().out
    )


def test_options_for_tflite_files_are_rejected(toy_run, tmp_path, capsys):
    arguments = [str(toy_run), "--output", str(tmp_path / "onnx"), "--format", "onnx", "--quant", "int8"]
    assert command.main(["convert", *arguments]) != 0
    assert "--quant, --calibration and --force are for --format tflite" in capsys.readouterr().err
    assert not (tmp_path / "onnx").exists()


def test_a_file_of_another_model_is_rejected(toy_source, expected, tmp_path, monkeypatch):
    def change(source, path, write=onnx_openvino.write_onnx):
        write(source, path)
        model = onnx.load(path)
        head = next(tensor for tensor in model.graph.initializer if tuple(tensor.dims) == (64, 6))
        head.CopyFrom(numpy_helper.from_array(1.1 * numpy_helper.to_array(head), head.name))
        onnx.save(model, path)

    monkeypatch.setattr(onnx_openvino, "write_onnx", change)
    with pytest.raises(ValueError, match=r"toys_16x24.onnx differ .* not kept.*\(at most 1e-04\)"):
        onnx_openvino.convert(toy_source, tmp_path / "edge", "onnx", expected)
    assert not (tmp_path / "edge").exists()


def test_an_operator_that_onnx_lacks_is_named(toy_source, expected, tmp_path):
    model = toys.toy_model(layer=Bessel(name="odd"))
    source = dataclasses.replace(toy_source, model=model)
    with pytest.raises(ValueError, match="toys cannot be converted to ONNX: .*BesselI0"):
        onnx_openvino.convert(source, tmp_path / "edge", "onnx", expected)
    assert not (tmp_path / "edge").exists()


def test_another_models_folder_is_rejected(toy_source, written, expected):
    other = dataclasses.replace(toy_source, labels=tuple("abcdef"))
    with pytest.raises(ValueError, match="labels.txt belongs to a model with other classes"):
        onnx_openvino.convert(other, written[0], "onnx", expected)


@pytest.mark.parametrize("format, package", [("onnx", "tf2onnx"), ("openvino", "openvino")])
def test_an_absent_package_gives_the_pip_line(tmp_path, monkeypatch, capsys, format, package):
    def absent(name, real=importlib.import_module):
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert command.main(["convert", "nothing", "--output", str(tmp_path / "edge"), "--format", format]) == 1
    assert f"No module named {package!r}. Run: pip install 'keras-vit-models[{format}]'" in capsys.readouterr().err
    assert not (tmp_path / "edge").exists()


def test_unknown_formats(toy_source, tmp_path):
    with pytest.raises(ValueError, match="Received: 'coreml'"):
        onnx_openvino.convert(toy_source, tmp_path, "coreml")


@pytest.fixture(scope="module")
def maps(toy_run, tmp_path_factory):
    """(source, what it gives, folder, report) of maps of the same shape, as an ONNX file."""
    folder = tmp_path_factory.mktemp("maps")
    image = keras.Input((*toys.SIZE, 3))
    x = keras.layers.Conv2D(4, 8, 8, name="stem")(image)
    y = keras.layers.Conv2D(4, 1, activation="gelu", name="next")(x)
    model = keras.Model(image, {"late": y, "early": x, "embedding": keras.layers.GlobalAveragePooling2D()(y)})
    toys.SPEC.save(folder / "preprocessing.json")
    model.save(folder / "maps.keras")
    source = open_backbone(folder / "maps.keras", input_values="normalized")
    images = toys.write_images(folder / "images", 4)
    expected = expect_features(source, [(path, None) for path in images])
    return source, expected, folder / "onnx", onnx_openvino.convert(source, folder / "onnx", "onnx", expected)


def test_features_keep_their_names_and_shapes(maps):
    source, expected, folder, report = maps
    assert {path.name for path in folder.iterdir()} == {"maps_16x24.onnx", "preprocessing.json", "report_onnx.json"}
    shapes = {name: one["shape"] for name, one in report["features"].items()}
    assert shapes == {"early": [1, 2, 3, 4], "embedding": [1, 4], "late": [1, 2, 3, 4]}
    assert report["relative_difference"] <= 1e-3 == report["limits"]["relative_difference"]
    assert report["cosine"] > 0.99999
    given = replay.onnx(folder / "maps_16x24.onnx")(expected.images.astype("float32"))
    for name, values in expected.features.items():
        np.testing.assert_allclose(given[name], values, atol=1e-5)


def test_features_of_another_model_are_refused(maps, tmp_path, monkeypatch):
    source, expected, _, _ = maps
    swapped = dict(zip(("late", "early"), (expected.features["early"], expected.features["late"])))
    other = dataclasses.replace(expected, features={**expected.features, **swapped})
    with pytest.raises(ValueError, match="maps_16x24.onnx gives other features than the Keras model"):
        onnx_openvino.convert(source, tmp_path / "edge", "onnx", other)
    assert not (tmp_path / "edge").exists()


def test_classes_and_features_do_not_share_a_folder(maps, toy_source, expected):
    with pytest.raises(ValueError, match="holds files that give early, embedding, late, not classes"):
        onnx_openvino.convert(toy_source, maps[2], "onnx", expected)


@pytest.mark.slow
def test_the_verb_writes_features(toy_run, tmp_path, capsys):
    arguments = [str(toy_run), "--no-top", "--output", str(tmp_path), "--format", "onnx", "--max-images", "4"]
    assert command.main(["convert", *arguments]) == 0
    assert "4 test images, cosine of features 1.00000 on average" in capsys.readouterr().out
    assert command.main(["convert", *[one for one in arguments if one != "--no-top"]]) == 1
    assert "holds files that give embedding, not classes" in capsys.readouterr().err
