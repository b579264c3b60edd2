"""What a classifier's head reads; that it equals include_top=False for every family is in tests/export/model."""

import keras
import numpy as np

from keras_vit.prediction.features import head_inputs, without_head


def test_pre_logits_belong_to_the_head():
    image = keras.Input((4, 4, 3))
    token = keras.layers.GlobalAveragePooling2D(name="token")(image)
    hidden = keras.layers.Dense(7, activation="tanh", name="pre_logits")(token)
    (found,) = head_inputs(keras.Model(image, keras.layers.Dense(2)(keras.layers.Dropout(0.1)(hidden))))
    assert found.shape == (None, 7)  # after a dropout it is not the head's
    (found,) = head_inputs(keras.Model(image, keras.layers.Softmax()(keras.layers.Dense(2)(hidden))))
    assert found.shape == (None, 3)


def test_two_heads_give_the_mean_of_what_they_read():
    image = keras.Input((4, 4, 3))
    tokens = [keras.layers.GlobalAveragePooling2D()(image), keras.layers.GlobalMaxPooling2D()(image)]
    model = keras.Model(image, keras.layers.average([keras.layers.Dense(2)(token) for token in tokens]))
    images = np.random.default_rng(0).uniform(0, 1, (2, 4, 4, 3)).astype("float32")
    expected = (images.mean((1, 2)) + images.max((1, 2))) / 2
    np.testing.assert_allclose(without_head(model)(images), expected, rtol=1e-6)


def test_a_model_without_a_head_has_none():
    image = keras.Input((4, 4, 3))
    pooled = keras.layers.LayerNormalization()(keras.layers.GlobalAveragePooling2D()(image))
    assert without_head(keras.Model(image, pooled)) is None
