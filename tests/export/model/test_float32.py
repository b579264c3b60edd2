import keras
import numpy as np
import pytest

from keras_vit.export.model.float32 import in_float32
from tests.export import toys

IMAGES = np.random.default_rng(0).normal(size=(3, *toys.SIZE, 3)).astype("float32")


def test_a_float32_model_is_returned_itself():
    model = toys.toy_model()
    assert in_float32(model) is model


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_becomes_float32_with_the_same_weights(policy):
    model = toys.toy_model(dtype=policy)
    rebuilt = in_float32(model)
    assert {layer.dtype_policy.name for layer in rebuilt.layers} == {"float32"}
    assert [w.path for w in rebuilt.weights] == [w.path for w in model.weights]
    for ours, theirs in zip(rebuilt.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(ours, theirs)
    assert rebuilt(IMAGES).dtype == "float32"
    np.testing.assert_allclose(rebuilt(IMAGES), np.float32(model(IMAGES)), atol=0.1)
    np.testing.assert_array_equal(rebuilt(IMAGES), toys.toy_model()(IMAGES))


def test_whole_models_in_bfloat16():
    model = toys.toy_model(dtype="bfloat16")
    rebuilt = in_float32(model)
    assert {weight.dtype for weight in rebuilt.weights} == {"float32"}
    kernel = keras.ops.cast(model.get_layer("head").kernel, "float32")
    np.testing.assert_array_equal(rebuilt.get_layer("head").kernel, kernel)


def test_the_default_policy_is_restored():
    image = keras.Input((8, 8, 3))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(image)))
        rebuilt = in_float32(model)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.dtype_policy.name for layer in rebuilt.layers} == {"float32"}


def test_nested_models():
    image = keras.Input((*toys.SIZE, 3))
    model = keras.Model(image, toys.toy_model(dtype="mixed_bfloat16")(image))
    rebuilt = in_float32(model)
    np.testing.assert_array_equal(rebuilt(IMAGES), toys.toy_model()(IMAGES))


def test_a_policy_that_cannot_be_replaced_is_named():
    with pytest.raises(ValueError, match="float64"):
        in_float32(toys.toy_model(dtype="float64"))
