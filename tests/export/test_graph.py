import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.graph import gives_logits, probabilities
from keras_vit.export.source import Source
from keras_vit.preprocessing import Spec
from tests.export import toys

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, *toys.SIZE, 3)).astype("float32")
SPEC = Spec(toys.SIZE, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))


def predict(model):
    return tf.function(probabilities(Source(model, SPEC, (), "toy")))(tf.constant(IMAGES)).numpy()


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


def test_logits_get_a_softmax():
    logits = predict(toys.toy_model(activation=None))
    np.testing.assert_allclose(logits, predict(toys.toy_model()), atol=1e-6)


def test_sigmoids_stay():
    sums = predict(toys.toy_model(activation="sigmoid")).sum(-1)
    assert (np.abs(sums - 1) > 0.1).all()


@pytest.mark.parametrize("softmax", [keras.layers.Softmax(), keras.ops.softmax])
def test_a_softmax_that_is_no_activation_is_seen(softmax):
    model = toys.toy_model(activation=None)
    model = keras.Model(model.input, softmax(model.output))
    assert not gives_logits(model, toys.SIZE)


def test_an_unknown_last_layer_is_tried():
    model = toys.toy_model(activation=None)
    model = keras.Model(model.input, keras.layers.Rescaling(2.0)(model.output))
    assert gives_logits(model, toys.SIZE)
