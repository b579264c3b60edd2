"""Every kind of source gives the same probabilities for an image, and errors name what a source lacks."""

import shutil

import numpy as np
import pytest
from PIL import Image

from keras_vit.models import create
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import resize
from keras_vit.sources import registry
from keras_vit.weights import download
from tests import toy_artifacts as toy


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One of each artifact."""
    folder = tmp_path_factory.mktemp("artifacts")
    toy.write_run(folder / "run")
    toy.write_saved_model(folder / "bundle" / "models" / "colours" / "2")
    edge = folder / "edge"
    edge.mkdir()
    toy.write_tflite(edge / "colours_6x8_fp32.tflite")
    toy.write_beside(edge)
    return folder


SOURCES = {
    "run": "keras run",
    "run/model.keras": "keras model",
    "bundle": "SavedModel",
    "bundle/models/colours": "SavedModel",
    "bundle/models/colours/2": "SavedModel",
    "edge": "tflite",
    "edge/colours_6x8_fp32.tflite": "tflite",
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same(made, source):
    predictor = Predictor.open(made / source)
    assert predictor.kind == SOURCES[source]
    assert predictor.labels == toy.LABELS and predictor.spec == toy.SPEC
    assert predictor.weights.is_file()
    images = toy.random_images()
    out = predictor.predict(images, batch_size=3)
    assert out.dtype == np.float32 and list(out[:3].argmax(1)) == [0, 1, 2]
    np.testing.assert_allclose(out, toy.expected(images), atol=1e-5)
    assert predictor.predict([]).shape == (0, 3)


def test_names_runtimes_and_quantization(made):
    seen = {source: Predictor.open(made / source) for source in ("run", "bundle", "edge")}
    assert [p.name for p in seen.values()] == ["colours", "colours", "colours_6x8_fp32"]
    assert [p.runtime for p in seen.values()] == ["keras-tensorflow", "savedmodel", "litert"]
    assert [p.quantization for p in seen.values()] == ["none", "none", "fp32"]
    assert seen["run"].parameters == 9


def test_paths_and_arrays_are_the_same(made, tmp_path):
    image, *_ = toy.random_images()
    Image.fromarray(image).save(tmp_path / "a.png")
    predictor = Predictor.open(made / "run")
    one, two = predictor.predict([tmp_path / "a.png", image])
    np.testing.assert_allclose(one, two, atol=1e-7)


def test_highest_version_wins(tmp_path):
    for version in ("9", "10"):
        toy.write_saved_model(tmp_path / version)
    (tmp_path / "10" / "assets" / "labels.txt").write_text("a\nb\nc\n")
    (tmp_path / "11").mkdir()  # not a version: nothing in it
    assert Predictor.open(tmp_path).labels == ("a", "b", "c")


def test_one_of_several_models_in_a_bundle_has_to_be_named(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        (tmp_path / "models" / name / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="2 models.*two"):
        Predictor.open(tmp_path)
    with pytest.raises(ValueError, match="cannot be loaded as a SavedModel"):
        Predictor.open(tmp_path / "models" / "one")


def test_saved_model_with_serving_default_only_gets_bytes(tmp_path):
    toy.write_saved_model(tmp_path / "1", ["serving_default"])
    predictor = Predictor.open(tmp_path)
    images = toy.random_images()
    expected = toy.expected(images)
    expected[np.arange(4), expected.argmin(1)] = 0  # it returns the best two
    np.testing.assert_allclose(predictor.predict(images, batch_size=2), expected, atol=1e-5)
    assert predictor.spec is None and predictor.top_k == 2


def test_saved_model_without_labels_or_signatures(tmp_path):
    toy.write_saved_model(tmp_path / "1", ["serving_default"], assets=False)
    with pytest.raises(ValueError, match="labels.txt"):
        Predictor.open(tmp_path / "1")
    toy.write_saved_model(tmp_path / "2", ["predict_images"], assets=False)
    with pytest.raises(ValueError, match="serving_default.*predict_images"):
        Predictor.open(tmp_path / "2")
    predictor = Predictor.open(tmp_path / "2", spec=toy.SPEC)
    assert predictor.labels == ("0", "1", "2")


def test_uint8_tflite(tmp_path):
    toy.write_beside(tmp_path)
    path = toy.write_tflite(tmp_path / "toy_int8.tflite", quantized_input=True)
    predictor = Predictor.open(path)
    images = toy.random_images()
    out = predictor.predict(images)
    np.testing.assert_allclose(out, toy.expected(images), atol=0.1)  # 8 bits in every tensor
    assert list(out[:3].argmax(1)) == [0, 1, 2]
    assert predictor.quantization == "int8"


def test_a_file_of_a_folder_with_several_sizes_has_its_own(made, tmp_path):
    shutil.copytree(made / "edge", tmp_path / "edge")
    toy.SPEC.at((12, 12)).save(tmp_path / "edge" / "preprocessing.json")
    predictor = Predictor.open(tmp_path / "edge" / "colours_6x8_fp32.tflite")
    assert predictor.spec == toy.SPEC
    np.testing.assert_allclose(predictor.predict(toy.random_images()), toy.expected(toy.random_images()), atol=1e-5)


def test_tflite_of_another_size_or_none(made, tmp_path):
    path = made / "edge" / "colours_6x8_fp32.tflite"
    other = tmp_path / "p.json"
    type(toy.SPEC)((6, 7), toy.SPEC.mean, toy.SPEC.std).save(other)
    with pytest.raises(ValueError, match=r"\(1, 6, 7, 3\).*\(1, 6, 8, 3\)"):
        Predictor.open(path, spec=other)
    toy.write_beside(tmp_path)
    for content in (b"", path.read_bytes()[:100], b"0000TFL4" + path.read_bytes()[8:]):
        (tmp_path / "bad.tflite").write_bytes(content)
        with pytest.raises(ValueError, match="bad.tflite"):
            Predictor.open(tmp_path / "bad.tflite")


@pytest.mark.parametrize("kind", ["keras", "tflite"])
def test_a_file_without_preprocessing_needs_it_as_an_argument(made, tmp_path, kind):
    source = {"keras": "run/model.keras", "tflite": "edge/colours_6x8_fp32.tflite"}[kind]
    bare = tmp_path / f"bare.{kind}"
    bare.write_bytes((made / source).read_bytes())
    with pytest.raises(ValueError, match="--preprocessing"):
        Predictor.open(bare)
    predictor = Predictor.open(bare, spec=made / "run" / "preprocessing.json", labels=["a", "b", "c"])
    assert predictor.labels == ("a", "b", "c")
    with pytest.raises(ValueError, match="3 classes.*2 labels"):
        Predictor.open(bare, spec=made / "run", labels=["a", "b"])


def test_logits_become_probabilities_and_sigmoids_stay(tmp_path):
    for activation in (None, "softmax"):
        toy.keras_model(activation).save(tmp_path / "m.keras")
        predictor = Predictor.open(tmp_path / "m.keras", spec=toy.SPEC)
        images = toy.random_images()
        np.testing.assert_allclose(predictor.predict(images), toy.expected(images), atol=1e-5)
    toy.keras_model("sigmoid").save(tmp_path / "m.keras")
    scores = Predictor.open(tmp_path / "m.keras", spec=toy.SPEC).predict(images)
    assert (np.abs(scores.sum(1) - 1) > 0.05).any()


def test_model_that_normalises_by_itself(tmp_path):
    import keras

    mean, std = np.array(toy.SPEC.mean), np.array(toy.SPEC.std)
    scale, offset = (1 / (255 * std)).tolist(), (-mean / std).tolist()
    image = keras.Input((*toy.SPEC.size, 3))
    x = keras.layers.Rescaling(scale, offset, name="normalization")(image)
    keras.Model(image, toy.keras_model()(x)).save(tmp_path / "m.keras")
    images = toy.random_images()
    predictor = Predictor.open(tmp_path / "m.keras", spec=toy.SPEC)
    np.testing.assert_allclose(predictor.predict(images), toy.expected(images), atol=1e-5)


def test_model_of_another_size_is_refused(made):
    other = type(toy.SPEC)((9, 9), toy.SPEC.mean, toy.SPEC.std)
    with pytest.raises(ValueError, match=r"\(6, 8, 3\).*\(9, 9, 3\)"):
        Predictor.open(made / "run", spec=other)


def test_other_paths_and_names_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match="run folder.*SavedModel.*tflite"):
            Predictor.open(path)
    for path in (tmp_path / "nowhere", "nowhere.keras"):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            Predictor.open(path)
    with pytest.raises(ValueError, match="SwinTT.*SwinT"):
        Predictor.open("SwinTT")
    (tmp_path / "model.keras").write_bytes(b"PK")
    with pytest.raises(ValueError, match="not a finished run"):
        Predictor.open(tmp_path)


@pytest.mark.parametrize(
    "images", [np.zeros((4, 4, 3), "uint8"), "a.png", [np.zeros((4, 4, 3))], [np.zeros((4, 4), "uint8")]]
)
def test_wrong_images_are_refused(made, images):
    with pytest.raises(ValueError, match="list of images|uint8 array"):
        Predictor.open(made / "run").predict(images)


def test_a_published_model_has_weights_preprocessing_and_labels(monkeypatch, tmp_path):
    import keras

    def create_published(row):
        image = keras.Input((*row.size, 3))
        x = keras.layers.GlobalAveragePooling2D()(image)
        return keras.Model(image, keras.layers.Dense(row.classes, activation="softmax")(x))

    monkeypatch.setattr(download, "fetch", lambda row: tmp_path / "w.safetensors")
    monkeypatch.setattr(create, "create_published", create_published)
    row = registry.resolve_row("SwinT")
    predictor = Predictor.open("SwinT")
    assert predictor.kind == "published model" and predictor.name == row.name
    assert predictor.spec == row.spec and predictor.labels[0] == "tench"
    assert predictor.weights == tmp_path / "w.safetensors"
    assert predictor.predict(toy.random_images()[:1]).shape == (1, 1000)


def test_published_weights_without_a_classifier_cannot_predict():
    with pytest.raises(ValueError, match="ViTB16.dino was published without a classifier"):
        Predictor.open("ViTB16.dino")


def test_given_labels_replace_those_of_the_source(made):
    assert Predictor.open(made / "run", labels=["a", "b", "c"]).labels == ("a", "b", "c")
    for labels in ([], ["a"]):
        with pytest.raises(ValueError, match=f"3 classes.*{len(labels)} labels"):
            Predictor.open(made / "run", labels=labels)


def binary_model(last=None):
    """A Keras classifier of two folders: one output, the probability of the second class."""
    import keras

    image = keras.Input((*toy.SPEC.size, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    x = keras.layers.Dense(1, activation=None if last else "sigmoid", name="head")(x)
    model = keras.Model(image, last(x) if last else x)
    model.get_layer("head").set_weights([np.array([[2.0], [-2.0], [0.0]]), np.zeros(1)])
    return model


@pytest.mark.parametrize("last", ["sigmoid", "activation", "logits", "tflite", "saved_model"])
def test_one_output_with_two_labels_gives_both_probabilities(tmp_path, last):
    import keras
    import tensorflow as tf

    model = binary_model(
        {"activation": keras.layers.Activation("sigmoid"), "logits": keras.layers.Identity()}.get(last)
    )
    file = tmp_path / "m.keras"
    if last == "tflite":
        file = tmp_path / "m.tflite"
        scaled = (1 / (255 * np.array(toy.SPEC.std))).tolist(), (-np.array(toy.SPEC.mean) / toy.SPEC.std).tolist()
        image = keras.Input((*toy.SPEC.size, 3), batch_size=1)
        whole = keras.Model(image, model(keras.layers.Rescaling(*scaled)(image)))
        file.write_bytes(tf.lite.TFLiteConverter.from_keras_model(whole).convert())
    elif last == "saved_model":
        file, module = tmp_path / "1", tf.Module()
        module.model = model.variables
        spec = tf.TensorSpec([None, *toy.SPEC.size, 3], tf.float32, name="images")
        normal = lambda x: (x / 255.0 - np.float32(toy.SPEC.mean)) / np.float32(toy.SPEC.std)  # noqa: E731
        module.f = tf.function(lambda images: {"probabilities": model(normal(images))}, input_signature=[spec])
        tf.saved_model.save(module, str(file), {"predict_images": module.f})
    else:
        model.save(file)
    images = toy.random_images()
    found = Predictor.open(file, spec=toy.SPEC, labels=["green", "red"]).predict(images)
    x = [((resize(i, toy.SPEC).numpy() / 255 - toy.SPEC.mean) / np.array(toy.SPEC.std)).mean((0, 1)) for i in images]
    red = 1 / (1 + np.exp(-2 * np.array([pixel[0] - pixel[1] for pixel in x])))
    np.testing.assert_allclose(found, np.stack([1 - red, red], 1), atol=1e-5)
    assert list(found.argmax(1)[:2]) == [1, 0]
    assert Predictor.open(file, spec=toy.SPEC, labels=["red"]).predict(images).shape == (4, 1)
    with pytest.raises(ValueError, match="1 classes.*3 labels"):
        Predictor.open(file, spec=toy.SPEC, labels=["a", "b", "c"])


def test_which_values_a_model_takes_is_asked_for_then_recorded_then_computed(made, tmp_path):
    import dataclasses

    source = tmp_path / "m.keras"
    source.write_bytes((made / "run" / "model.keras").read_bytes())
    toy.SPEC.save(tmp_path / "preprocessing.json")
    assert Predictor.open(source).input_values == "normalized"
    dataclasses.replace(toy.SPEC, input_values="unit").save(tmp_path / "preprocessing.json")
    assert Predictor.open(source).input_values == "unit"
    assert Predictor.open(source, input_values="pixels").input_values == "pixels"
    assert Predictor.open(made / "run", input_values="pixels").input_values == "pixels"
    images = [image.astype("float32") for image in np.zeros((2, *toy.SPEC.size, 3), "uint8")]
    given = Predictor.open(source, input_values="pixels").inputs(images)
    np.testing.assert_array_equal(given, np.zeros((2, *toy.SPEC.size, 3)))
    with pytest.raises(ValueError, match="input_values must be one of"):
        Predictor.open(source, input_values="bytes")
    for other in ("bundle", "edge"):
        with pytest.raises(ValueError, match=r"takes pixels in \[0, 255\].*--input-values"):
            Predictor.open(made / other, input_values="pixels")


@pytest.mark.parametrize(
    "details, takes",
    [({"finished": True}, "normalized"), ({"input_values": "normalized"}, "normalized"), ({}, "pixels")],
)
def test_a_run_takes_what_training_fed_whatever_its_network_does(tmp_path, details, takes):
    """A recipe's architecture may have a Normalization inside; a folder that training did not write is looked at."""
    from keras_vit.sources.run_folder import Run
    from tests.wrapped_models import behind, rescaling

    behind(rescaling())(toy.keras_model(), toy.SPEC).save(tmp_path / "m.keras")
    Run.write_description(tmp_path, name="r", model_name="R", labels=toy.LABELS, spec=toy.SPEC, details=details)
    (tmp_path / "m.keras").rename(tmp_path / "model.keras")
    for source in (tmp_path, tmp_path / "model.keras"):
        assert Predictor.open(source).input_values == takes


def test_a_subclassed_model_predicts(tmp_path):
    from tests.wrapped_models import WRAPPINGS

    WRAPPINGS["subclassed"][0](toy.keras_model(), toy.SPEC).save(tmp_path / "m.keras")
    images = toy.random_images()
    found = Predictor.open(tmp_path / "m.keras", spec=toy.SPEC).predict(images)
    np.testing.assert_allclose(found, toy.expected(images), atol=1e-5)
