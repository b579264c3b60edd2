"""Tokens go where the papers put them."""

import keras
import numpy as np

from keras_vit.layers import GridOfTokens, PositionEmbedding, PrependToken, TakeToken

X = np.random.default_rng(0).standard_normal((2, 6, 4)).astype("float32")


def test_prepended_token_is_the_same_for_every_image():
    layer = PrependToken()
    out = np.asarray(layer(X))
    np.testing.assert_array_equal(out[:, 1:], X)
    np.testing.assert_array_equal(out[0, 0], out[1, 0])
    np.testing.assert_array_equal(out[0, 0], layer.token[0, 0])


def test_positions_are_added():
    layer = PositionEmbedding()
    np.testing.assert_allclose(layer(X), X + np.asarray(layer.table), atol=1e-7)
    assert np.unique(np.asarray(layer.table)).size == 24


def test_take_and_grid():
    np.testing.assert_array_equal(TakeToken(index=1)(X), X[:, 1])
    with_class = np.concatenate([np.zeros((2, 1, 4), "float32"), X], axis=1)
    np.testing.assert_array_equal(GridOfTokens(2, 3)(with_class), X.reshape(2, 2, 3, 4))


def test_symbolic_shapes_are_the_real_ones():
    for layer in (PrependToken(), PositionEmbedding(), TakeToken(), GridOfTokens(2, 3)):
        symbolic = layer(keras.Input((6, 4))).shape
        assert symbolic[1:] == layer(X).shape[1:]
