"""What the images of gradients share."""

import keras
import numpy as np
import pytest

from keras_vit.analysis import gradients
from tests.models.toys import TOYS


def classifier(activation):
    image = keras.Input((2, 2, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    return keras.Model(image, keras.layers.Dense(4, activation=activation, name="head")(x))


@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_scores_before_the_activation(activation):
    model, images = classifier(activation), np.random.default_rng(0).normal(size=(3, 2, 2, 3)).astype("float32")
    read, as_scores = gradients.before_activation("relevance", model)
    scores = as_scores(keras.Model(model.inputs[0], read)(images))
    head = model.get_layer("head")
    np.testing.assert_allclose(scores, images.mean((1, 2)) @ head.kernel + head.bias, atol=1e-6)
    np.testing.assert_allclose(keras.activations.get(activation)(scores), model(images), atol=1e-6)


def test_scores_of_a_distilled_model_are_the_mean_of_both_heads():
    variant, shape = TOYS["deit_distilled"]
    model = variant(weights=None, input_shape=shape, classes=5)
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    read, as_scores = gradients.before_activation("relevance", model)
    scores = as_scores(keras.Model(model.inputs[0], read)(images))
    np.testing.assert_allclose(keras.ops.softmax(scores), model(images), atol=1e-6)


def test_arguments_that_do_not_fit_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="ends in 'pool' .GlobalAveragePooling2D"):
        image = keras.Input((2, 2, 3))
        model = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="pool")(image))
        gradients.before_activation("relevance", model)
    for shape in ((2, 2, 3), (0, 2, 2, 3), (1, 2, 4, 3)):
        with pytest.raises(ValueError, match=r"relevance: expected a batch .*\('B', 2, 2, 3\)"):
            gradients.require_images("relevance", classifier(None), np.zeros(shape))
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="relevance takes gradients with TensorFlow. Received: the 'jax' backend"):
        gradients.require_tensorflow("relevance")
