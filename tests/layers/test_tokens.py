"""Tokens go where the papers put them."""

import json
import zipfile

import keras
import numpy as np
import pytest

from keras_vit.layers import PositionEmbedding, PrependToken, PrependTokens, SelectToken, TokensToGrid

X = np.random.default_rng(0).standard_normal((2, 6, 4)).astype("float32")


def test_prepended_token_is_the_same_for_every_image():
    layer = PrependToken()
    out = np.asarray(layer(X))
    np.testing.assert_array_equal(out[:, 1:], X)
    np.testing.assert_array_equal(out[0, 0], out[1, 0])
    np.testing.assert_array_equal(out[0, 0], layer.token[0, 0])


def test_prepended_tokens_differ_and_are_the_same_for_every_image():
    layer = PrependTokens(3)
    out = np.asarray(layer(X))
    np.testing.assert_array_equal(out[:, 3:], X)
    np.testing.assert_array_equal(out[0, :3], out[1, :3])
    np.testing.assert_array_equal(out[0, :3], layer.tokens[0])
    assert np.unique(layer.tokens).size == 12 and np.abs(layer.tokens).max() < 1e-5


def test_positions_are_added():
    layer = PositionEmbedding()
    np.testing.assert_allclose(layer(X), X + np.asarray(layer.table), atol=1e-7)
    assert np.unique(np.asarray(layer.table)).size == 24


def test_a_table_for_images_of_any_size_needs_a_grid():
    tokens, patches = keras.Input((None, 4)), keras.Input((None, None, 4))
    with pytest.raises(ValueError, match="expected grid="):
        PositionEmbedding()(tokens, patches)
    assert PositionEmbedding(grid=(2, 3))(tokens, patches).shape == (None, None, 4)


def test_a_token_is_selected_and_the_patches_become_a_map():
    np.testing.assert_array_equal(SelectToken(index=1)(X), X[:, 1])
    with_class = np.concatenate([np.zeros((2, 1, 4), "float32"), X], axis=1)
    np.testing.assert_array_equal(TokensToGrid(2, 3)(with_class), X.reshape(2, 2, 3, 4))


def test_symbolic_shapes_are_the_real_ones():
    for layer in (PrependToken(), PrependTokens(2), PositionEmbedding(), SelectToken(), TokensToGrid(2, 3)):
        symbolic = layer(keras.Input((6, 4))).shape
        assert symbolic[1:] == layer(X).shape[1:]


def test_files_with_the_former_names_load(tmp_path):
    """Files saved before TakeToken became SelectToken and GridOfTokens TokensToGrid."""
    tokens = keras.Input((7, 4))
    outputs = [SelectToken(name="pooled_token")(tokens), TokensToGrid(2, 3, name="grid")(tokens)]
    model = keras.Model(tokens, outputs)
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            data = new.read(name)
            if name == "config.json":
                assert data.count(b"SelectToken") == data.count(b"TokensToGrid") == 2  # class and registered name
                data = data.replace(b"SelectToken", b"TakeToken").replace(b"TokensToGrid", b"GridOfTokens")
            old.writestr(name, data)
    loaded = keras.saving.load_model(tmp_path / "old.keras")
    assert [type(layer) for layer in loaded.layers[1:]] == [SelectToken, TokensToGrid]
    x = np.random.default_rng(0).standard_normal((2, 7, 4)).astype("float32")
    for found, expected in zip(loaded(x), model(x)):
        np.testing.assert_array_equal(found, expected)
    registered = {layer["registered_name"] for layer in json.loads(loaded.to_json())["config"]["layers"]}
    assert {"keras_vit>SelectToken", "keras_vit>TokensToGrid"} <= registered
