"""Keras' private interfaces give what this library reads from them."""

import io
import zipfile

import keras
import numpy as np
import pytest

from keras_vit.system import keras_private


@pytest.fixture
def model():
    image = keras.Input((4,))
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="inside")], name="inner")
    return keras.Model(image, inner(keras.layers.Dense(3, name="outside")(image)), name="outer")


def test_all_layers_are_the_model_and_the_children_of_its_layers(model):
    names = [layer.name for layer in keras_private.all_layers(model)]
    assert names[0] == "outer" and {"outside", "inner", "inside"} <= set(names)


def test_leaves_with_weights_are_trained_ones_frozen_or_not():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Normalization(mean=0.0, variance=1.0)(image)
    x = keras.layers.BatchNormalization(scale=False, center=False)(keras.layers.RandomFlip()(x))
    x = keras.layers.Conv2D(4, 3, name="conv")(x)
    inner = keras.Sequential([keras.Input((6, 6, 4)), keras.layers.BatchNormalization(name="norm")])
    model = keras.Model(image, inner(x))
    model.trainable = False
    assert [layer.name for layer in keras_private.leaves_with_weights(model)] == ["conv", "norm"]
    quantized = keras.layers.Dense(4, use_bias=False, name="dense")
    model = keras.Model(image, quantized(image))
    quantized.quantize("int8")
    assert [layer.name for layer in keras_private.leaves_with_weights(model)] == ["dense"]


def test_the_operation_of_a_tensor():
    layer = keras.layers.Dense(3)
    x = layer(keras.Input((4,)))
    assert keras_private.operation_of(x) is layer
    assert isinstance(keras_private.operation_of(keras.ops.relu(x)), keras.Operation)


def test_the_call_of_a_tensor_has_the_arguments_of_that_call():
    """A shared layer has several calls."""
    layer, inputs = keras.layers.Add(), [keras.Input((4,)) for _ in range(3)]
    first, second = layer(inputs[:2]), layer(inputs[1:])
    for x, expected in ((first, inputs[:2]), (second, inputs[1:])):
        operation, arguments = keras_private.call_of(x)
        assert operation is layer
        assert len(arguments) == 2 and all(found is given for found, given in zip(arguments, expected))


def test_layers_are_recomputed_inside_a_scope_only():
    with keras.RematScope(mode="full"):
        inside = keras.layers.Dense(3)
    assert keras_private.recomputed(inside) and not keras_private.recomputed(keras.layers.Dense(3))


@pytest.mark.parametrize("optimizer", [keras.optimizers.AdamW, keras.optimizers.Lamb])
def test_moments_after_one_step(optimizer):
    variables = [keras.Variable(np.ones(shape, "float32")) for shape in ((2,), (3,))]
    gradients = [keras.ops.full(variable.shape, value) for variable, value in zip(variables, (2.0, 3.0))]
    adam = optimizer(beta_1=0.9, beta_2=0.99)
    adam.build(variables)
    adam.apply(gradients)
    for i, gradient in enumerate((2.0, 3.0)):
        first, second = (keras.ops.convert_to_numpy(moment) for moment in keras_private.moments_of(adam, i))
        np.testing.assert_allclose(first, np.full(variables[i].shape, 0.1 * gradient), rtol=1e-5)
        np.testing.assert_allclose(second, np.full(variables[i].shape, 0.01 * gradient**2), rtol=1e-5)


def test_variables_get_their_values_at_the_end_and_each_is_shown_before():
    seen = []
    with keras_private.variables_without_values(lambda variable: seen.append(variable.shape)):
        layer = keras.layers.Dense(3)
        layer.build((None, 4))
        assert seen == [(4, 3), (3,)]
    np.testing.assert_array_equal(layer.bias, np.zeros(3))
    assert np.any(layer.kernel.numpy() if hasattr(layer.kernel, "numpy") else np.asarray(layer.kernel))


def test_what_is_raised_while_variables_wait_leaves_none_behind():
    def refuse(variable):
        raise ValueError("too large")

    earlier = keras.StatelessScope(initialize_variables=False)
    with earlier:
        waiting = keras.Variable("ones", shape=(2,))
    with pytest.raises(ValueError, match="too large"):
        with keras_private.variables_without_values(refuse):
            keras.Variable("zeros", shape=(2**40,))
    with keras.StatelessScope():
        pass  # gives values to all that wait
    np.testing.assert_array_equal(waiting, np.ones(2))


def test_a_model_from_json_gets_the_state_of_a_file(tmp_path, model):
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as file:
        copy = keras_private.model_from_json(file.read("config.json").decode())
        keras_private.load_state(copy, io.BytesIO(file.read("model.weights.h5")))
        for mine, theirs in zip(copy.weights, model.weights, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
        with pytest.raises(ValueError, match="could not be loaded"):
            keras_private.load_state(other, io.BytesIO(file.read("model.weights.h5")))


def test_the_numbers_of_a_variable():
    for dtype in ("float32", "bfloat16", "int32"):
        variable = keras.Variable(np.arange(6.0).reshape(2, 3), dtype=dtype)
        np.testing.assert_array_equal(keras_private.numbers_of(variable).astype("float32"), np.arange(6).reshape(2, 3))
