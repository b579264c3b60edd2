import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.edge import tflite
from keras_vit.export.model.inference import probabilities
from keras_vit.export.model.source import ExportedModel
from keras_vit.export.serving import saved_model
from keras_vit.prediction.predictor import Predictor
from keras_vit.prediction.runtimes import as_png
from keras_vit.preprocessing import Spec, as_taken
from tests.export import toys

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, *toys.SIZE, 3)).astype("float32")
SPEC = Spec(toys.SIZE, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))


def predict(model):
    return tf.function(probabilities(ExportedModel(model, SPEC, (), "toy")))(tf.constant(IMAGES)).numpy()


def test_normalisation_is_inside():
    normalised = (IMAGES / 255 - np.float32(SPEC.mean)) / np.float32(SPEC.std)
    model = toys.toy_model()
    np.testing.assert_allclose(predict(model), model(normalised), atol=1e-6)


@pytest.mark.parametrize("nested", [False, True])
def test_a_model_that_normalises_by_itself_is_not_normalised_twice(nested):
    mean, std = np.array(SPEC.mean), np.array(SPEC.std)
    image, model = keras.Input((*toys.SIZE, 3)), toys.toy_model()
    inside = keras.layers.Rescaling((1 / (255 * std)).tolist(), (-mean / std).tolist(), name="normalization")
    whole = keras.Model(image, model(inside(image)))
    if nested:
        outer = keras.Input((*toys.SIZE, 3))
        whole = keras.Model(outer, keras.layers.Identity()(whole(outer)))
    np.testing.assert_allclose(predict(whole), predict(model), atol=1e-5)


@pytest.mark.parametrize("values", ["pixels", "unit", "normalized"])
def test_what_the_model_takes_may_be_said(values):
    model = toys.toy_model()
    source = ExportedModel(model, SPEC, (), "toy", input_values=values)
    np.testing.assert_allclose(probabilities(source)(IMAGES), model(as_taken(IMAGES, SPEC, values)), atol=1e-6)


def test_logits_get_a_softmax():
    logits = predict(toys.toy_model(activation=None))
    np.testing.assert_allclose(logits, predict(toys.toy_model()), atol=1e-6)


def test_sigmoids_stay():
    sums = predict(toys.toy_model(activation="sigmoid")).sum(-1)
    assert (np.abs(sums - 1) > 0.1).all()


@pytest.mark.parametrize("labels", [("cat",), pytest.param(("no cat", "cat"), marks=pytest.mark.slow)])
def test_a_single_output_is_the_probability_of_the_class_everywhere(tmp_path, labels):
    model = toys.toy_model(classes=1, activation=None)
    head = model.get_layer("head")
    head.kernel.assign(0.1 * head.kernel)  # unsure, so that differences show
    source = ExportedModel(model, SPEC, labels, "cats")
    normalised = (IMAGES / 255 - np.float32(SPEC.mean)) / np.float32(SPEC.std)
    sigmoid = 1 / (1 + np.exp(-np.asarray(model(normalised))))  # (2, 1)
    assert 0.01 < sigmoid.min() and sigmoid.max() < 0.99 and np.ptp(sigmoid) > 0.01
    both = sigmoid if len(labels) == 1 else np.concatenate([1 - sigmoid, sigmoid], -1)

    model.save(tmp_path / "model.keras")
    saved_model.save(source, tmp_path / "saved" / "1")
    tflite.save_static(source, tmp_path / "static")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "static"))
    (tmp_path / "cats.tflite").write_bytes(converter.convert())
    for artifact in ("model.keras", "saved", "cats.tflite"):
        predictor = Predictor.open(tmp_path / artifact, SPEC, labels)
        np.testing.assert_allclose(predictor.predict_prepared(IMAGES), both, atol=1e-6)
    served = tf.saved_model.load(tmp_path / "saved" / "1").signatures["serving_default"]
    output = served(image_bytes=[as_png(image.astype("uint8")) for image in IMAGES])
    best = np.argsort(-both, -1)
    assert output["classes"].numpy().tolist() == [[labels[number].encode() for number in row] for row in best]
    np.testing.assert_allclose(output["scores"], -np.sort(-both, -1), atol=5e-3)  # of images rounded to integers
