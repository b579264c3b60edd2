"""Models by name: arguments, sizes, weights, and what unknown names offer."""

import json
import logging
import shutil
import zipfile

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit import preprocessing
from keras_vit.export.model.source import open_source
from keras_vit.models import create
from keras_vit.sources.library_folder import open_folder
from keras_vit.sources.resolve import resolve
from keras_vit.weights import catalogue
from tests.libraries.golden import GOLDEN


@pytest.mark.parametrize(
    "name, closest",
    [("SwinTT", "SwinT"), ("swin_tiny", "swin_tiny_patch4_window7_224"), ("ViT-B16", "ViTB16"), ("VitB16", "ViTB16")],
)
def test_unknown_names_offer_the_closest(name, closest):
    with pytest.raises(ValueError, match=closest):
        keras_vit.create_model(name)


def test_unknown_tags_offer_the_closest():
    with pytest.raises(ValueError, match="ms_in22k_ft_in1k"):
        keras_vit.create_model("SwinT.ms_in22k_ft_in1")


def test_create_model_takes_the_constructors_arguments():
    model = keras_vit.create_model("convnext_atto", classes=7, input_shape=(64, 64, 3))
    assert model.output_shape == (None, 7) and model.name == "convnext_atto"
    with pytest.raises(TypeError, match="drop_path"):
        keras_vit.create_model("convnext_atto", drop_path=0.1)


def test_a_tag_in_the_name_and_other_weights_contradict_each_other():
    with pytest.raises(ValueError, match="names the weights"):
        keras_vit.create_model("SwinT.ms_in22k", weights="ms_in1k")


def test_a_size_in_the_name_is_the_models():
    assert keras_vit.create_model("vit_tiny_patch16_384").input_shape == (None, 384, 384, 3)
    assert keras_vit.create_model("vit_tiny_patch16_224").input_shape == (None, 224, 224, 3)


@pytest.mark.parametrize("name", ["SwinT.ms_in22k", "vit_base_patch16_384.augreg_in1k"])
def test_a_tag_in_the_name_is_handed_to_the_constructor(monkeypatch, name):
    received = {}
    row = keras_vit.info(name).weights[0]
    monkeypatch.setitem(create.VARIANTS, row.constructor, lambda **arguments: received.update(arguments))
    keras_vit.create_model(name, classes=5)
    assert received == {"weights": row.tag, "classes": 5}


def test_a_published_model_has_the_weights_classes_and_size_of_its_row(monkeypatch):
    received = {}
    row = catalogue.find("ViTB16", "augreg_in1k@384")
    monkeypatch.setitem(create.VARIANTS, "ViTB16", lambda **arguments: received.update(arguments))
    create.create_published(row)
    assert received == {"weights": "augreg_in1k@384", "classes": 1000, "input_shape": (384, 384, 3)}


def test_weights_without_a_classifier_are_no_published_classifier():
    with pytest.raises(ValueError, match="ViTB16.dino was published without a classifier"):
        create.create_published(catalogue.find("ViTB16", "dino"))


# ------------------------------------------------------------------------------ folders of other libraries


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A DeiT with a teacher that transformers saved: a folder, whose files tests may change in a copy."""
    path, case = tmp_path_factory.mktemp("libraries"), "DeiTForImageClassificationWithTeacher"
    with zipfile.ZipFile(GOLDEN) as archive:
        archive.extractall(path, [name for name in archive.namelist() if name.startswith(f"{case}/model/")])
    return path / case / "model"


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "my-model")


def changed(path, **entries):
    """The folder, with other entries in its config.json."""
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | entries))
    return path


def outputs(model, seed=0):
    images = np.random.default_rng(seed).standard_normal((2, *model.input_shape[1:])).astype("float32")
    return keras.ops.convert_to_numpy(model(images, training=False))


def test_a_folder_is_a_model_with_its_classes_and_size(folder):
    model = keras_vit.create_model(folder)
    config = json.loads((folder / "config.json").read_text())
    assert model.output_shape == (None, len(config["id2label"])) and model.name == "deit"
    np.testing.assert_allclose(outputs(model).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(outputs(keras_vit.create_model(str(folder))), outputs(model))


def test_the_constructors_arguments_change_it(folder, caplog):
    with caplog.at_level(logging.WARNING, "keras_vit"):
        model = keras_vit.create_model(folder, classes=3)
    assert model.output_shape == (None, 3) and "the one with 3 is new" in caplog.text
    features = keras_vit.create_model(folder, include_top=False, pooling="token")
    assert features.output_shape == (None, json.loads((folder / "config.json").read_text())["hidden_size"])
    with pytest.raises(ValueError, match="has weights of its own; leave out weights="):
        keras_vit.create_model(folder, weights="x.safetensors")


def test_its_weights_fit_a_constructor_of_the_same_sizes(folder):
    variant, shape = create.variant_of(open_folder(folder))
    classes = len(open_folder(folder).labels)
    model = variant(weights=folder, classes=classes, input_shape=shape)
    np.testing.assert_array_equal(outputs(model), outputs(keras_vit.create_model(folder)))


def test_its_preprocessing_is_part_of_the_model_on_request(folder):
    model = keras_vit.create_model(folder, include_preprocessing=True)
    spec, plain = resolve(folder).spec(), keras_vit.create_model(folder)
    pixels = np.random.default_rng(0).uniform(0, 255, (1, *plain.input_shape[1:])).astype("float32")
    expected = plain(preprocessing.normalize(pixels, spec), training=False)
    np.testing.assert_allclose(model(pixels, training=False), expected, atol=1e-5)


def test_a_classifier_that_does_not_fit_its_labels_is_an_error(copy):
    with pytest.raises(ValueError, match=r"its classifier has \d classes, and .*config.json states 1 \(id2label\)"):
        keras_vit.create_model(changed(copy, id2label={"0": "cat"}))


def test_a_config_json_of_other_weights_is_an_error(copy):
    with pytest.raises(ValueError, match="describes a model of more than .* weights, and .* holds"):
        keras_vit.create_model(changed(copy, num_hidden_layers=100, intermediate_size=4000))
    with pytest.raises(ValueError, match="not the weights of this model"):
        keras_vit.create_model(changed(copy, num_hidden_layers=4, intermediate_size=5))


def test_other_paths_say_what_they_are(tmp_path):
    (tmp_path / "net.keras").write_bytes(b"")
    with pytest.raises(
        ValueError, match="net.keras is a .keras file. create_model takes a model's name or a folder of"
    ):
        keras_vit.create_model(tmp_path / "net.keras")
    with pytest.raises(ValueError, match="nowhere"):
        keras_vit.create_model(str(tmp_path / "nowhere"))


def test_predictor_and_exporter_open_it_alike(folder):
    photo = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype("uint8")
    predictor = keras_vit.Predictor.open(folder)
    found = predictor.predict([photo])
    assert predictor.kind == "model of another library" and predictor.labels == open_folder(folder).labels
    model, spec = keras_vit.create_model(folder), resolve(folder).spec()
    prepared = preprocessing.as_taken(preprocessing.resize(photo, spec).numpy()[None], spec)
    np.testing.assert_allclose(found, model(prepared, training=False), atol=1e-5)
    exported = open_source(folder)
    assert exported.labels == predictor.labels and exported.spec == spec and exported.name == folder.name
