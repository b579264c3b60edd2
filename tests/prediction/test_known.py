"""The scores of known images, against their formulas in float64, from every form of classifier."""

import keras
import numpy as np
import pytest

from keras_vit.models.deit import two_heads
from keras_vit.prediction.known import known_score, with_logits
from tests.models.toys import TOYS

LOGITS = np.random.default_rng(0).normal(size=(5, 7)).astype("float32") * 30


def test_scores_are_their_formulas():
    np.testing.assert_allclose(known_score(LOGITS, "energy"), np.log(np.exp(LOGITS.astype(float)).sum(-1)), rtol=1e-6)
    np.testing.assert_array_equal(known_score(LOGITS, "max_logit"), LOGITS.max(-1))


@pytest.mark.parametrize("score", ["energy", "max_logit"])
def test_tensors_have_the_scores_of_arrays(score):
    tensor = known_score(keras.ops.convert_to_tensor(LOGITS), score)
    np.testing.assert_allclose(np.asarray(tensor), known_score(LOGITS, score), rtol=1e-6)


def test_large_logits_do_not_overflow():
    logits = np.float32([[1000, 1000, -1000]])
    for values in (logits, keras.ops.convert_to_tensor(logits)):
        np.testing.assert_allclose(np.asarray(known_score(values, "energy")), 1000 + np.log(2), rtol=1e-6)


def test_another_score_is_refused():
    with pytest.raises(ValueError, match="energy, max_logit. Received: 'entropy'"):
        known_score(LOGITS, "entropy")


def toy(*last, activation=None):
    image = keras.Input((4, 4, 3))
    x = keras.layers.Dense(3, activation=activation, bias_initializer="normal")(keras.layers.Flatten()(image))
    for layer in last:
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    "model",
    [
        toy(activation="softmax"),
        toy(activation="sigmoid"),
        toy(),
        toy(keras.layers.Softmax()),
        toy(keras.layers.Activation("sigmoid")),
    ],
)
def test_logits_are_those_before_the_last_activation(model):
    images = np.random.default_rng(1).normal(size=(6, 4, 4, 3)).astype("float32")
    outputs, logits = with_logits(model).predict_on_batch(images)
    kernel, bias = map(np.asarray, model.layers[2].get_weights())
    np.testing.assert_allclose(logits, images.reshape(6, -1) @ kernel + bias, atol=1e-5)
    np.testing.assert_allclose(outputs, model.predict_on_batch(images), atol=1e-6)


def test_they_follow_the_weights():
    model = toy(activation="softmax")
    images = np.ones((1, 4, 4, 3), "float32")
    both = with_logits(model)
    before = both.predict_on_batch(images)[1]
    model.layers[2].set_weights([2 * weight for weight in model.layers[2].get_weights()])
    np.testing.assert_allclose(both.predict_on_batch(images)[1], 2 * before, rtol=1e-5)


def test_two_heads_have_the_mean_of_their_logits():
    variant, shape = TOYS["deit_distilled"]
    model = variant(weights=None, input_shape=shape, classes=4)
    images = np.random.default_rng(2).normal(size=(2, *shape)).astype("float32")
    heads = two_heads(model).predict_on_batch(images)
    np.testing.assert_allclose(with_logits(model).predict_on_batch(images)[1], sum(heads) / 2, atol=1e-5)


def test_a_model_that_ends_otherwise_is_refused():
    with pytest.raises(ValueError, match="ends in Rescaling"):
        with_logits(toy(keras.layers.Rescaling(2.0)))
