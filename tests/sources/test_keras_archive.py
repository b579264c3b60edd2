"""A `.keras` file is loaded as Keras loads it, and refused before its architecture takes memory without weights."""

import logging
import zipfile

import keras
import numpy as np
import pytest

from keras_vit.sources import keras_archive
from keras_vit.sources.keras_archive import load_keras_model
from tests.models.toys import TOYS


def save(folder, model):
    model.save(folder / "m.keras")
    return folder / "m.keras"


def same(one, other):
    assert [v.path for v in one.weights] == [v.path for v in other.weights]
    assert len(one.variables) == len(other.variables)  # with seeds, of which some are drawn anew
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def other_layers():
    """A model with layers that keep a state: seeds, statistics, assets."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.RandomFlip(seed=3)(image)
    x = keras.layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(x)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, kernel_regularizer="l2")(x))
    inner = keras.Sequential([keras.Input((6, 6, 4)), keras.layers.Flatten(), keras.layers.Dropout(0.5, seed=1)])
    return keras.Model(image, keras.layers.Dense(2)(inner(x)))


@pytest.mark.parametrize("name", ["vit", pytest.param("swin", marks=pytest.mark.slow), "t2t", "other"])
def test_a_model_is_as_keras_loads_it(tmp_path, name):
    variant, shape = TOYS.get(name, (None, (8, 8, 3)))
    model = variant(weights=None, input_shape=shape, classes=5) if variant else other_layers()
    path = save(tmp_path, model)
    loaded, usual = load_keras_model(path), keras.saving.load_model(path, compile=False)
    same(loaded, usual)
    assert loaded.get_config() == usual.get_config() and not loaded.compiled
    images = np.random.default_rng(0).standard_normal((2, *shape)).astype("float32")
    np.testing.assert_array_equal(loaded(images), usual(images))


def test_a_compiled_model_and_one_with_assets_are_loaded(tmp_path):
    words = keras.Input((1,), dtype="string")
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
    model = keras.Model(words, keras.layers.Embedding(3, 2)(lookup(words)))
    model.compile("adam", "mse")
    path = save(tmp_path, model)
    same(load_keras_model(path), model)
    assert load_keras_model(path).layers[1].get_vocabulary() == ["[UNK]", "a", "b"]


@keras.saving.register_keras_serializable("keras_vit_tests")
class Valued(keras.layers.Layer):
    """A layer of a user, whose variable begins with a value."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = keras.Variable(np.ones(3, "float32"), name="scale")

    def call(self, x):
        return x * self.scale


def test_a_layer_whose_variable_begins_with_a_value_is_loaded(tmp_path):
    image = keras.Input((3,))
    model = keras.Model(image, Valued()(image))
    model.layers[1].scale.assign([1.0, 2.0, 3.0])
    same(load_keras_model(save(tmp_path, model)), model)


def test_an_architecture_larger_than_its_weights_takes_no_memory(tmp_path):
    image = keras.Input((4,))
    path = save(tmp_path, keras.Model(image, keras.layers.Dense(3)(image)))
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["config.json"] = members["config.json"].replace(b'"units": 3', b'"units": 1099511627776')
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    with pytest.raises(ValueError, match="m.keras is damaged: its config.json declares more weights"):
        load_keras_model(path)
    with keras.StatelessScope():
        pass  # gives values to variables that wait for them: to none of what was refused


def test_numbers_that_are_not_finite_are_said(tmp_path, caplog):
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dense(3, name="last")(image))
    model.layers[1].bias.assign([0.0, np.nan, np.inf])
    with caplog.at_level(logging.WARNING, "keras_vit"):
        same(load_keras_model(save(tmp_path, model)), model)
    assert "m.keras: 1 of its arrays have numbers that are NaN or infinite, last/bias the first" in caplog.text


def test_nan_is_named_once_for_several_arrays(caplog):
    keras_archive.warn_of_nan("w.pth", [])
    assert caplog.text == ""
    keras_archive.warn_of_nan("w.pth", ["a", "b"])
    assert "w.pth: 2 of its arrays" in caplog.text and "a the first" in caplog.text
