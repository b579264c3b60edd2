"""The gated perceptron against its equation."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.layers import SwiGLU

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype("float32")


def livened():
    """A layer with every weight off its initial value, and its weights."""
    layer = SwiGLU(7)
    layer.build(X.shape)
    for i, variable in enumerate(layer.weights):
        variable.assign(np.random.default_rng(i).standard_normal(variable.shape))
    return layer, [np.asarray(variable) for variable in layer.weights]


@pytest.mark.parametrize("training", [False, True])
def test_gates_come_before_values(training):
    layer, (kernel1, bias1, kernel2, bias2) = livened()
    assert kernel1.shape == (4, 14) and kernel2.shape == (7, 4)
    gates, values = np.split(X @ kernel1 + bias1, 2, axis=-1)
    expected = (gates / (1 + np.exp(-gates)) * values) @ kernel2 + bias2
    np.testing.assert_allclose(layer(X, training=training), expected, atol=1e-5)


def test_the_gradients_of_training_are_those_of_inference():
    layer, _ = livened()
    found = []
    for training in (False, True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(X, training=training) ** 2)
        found.append(tape.gradient(loss, [variable.value for variable in layer.trainable_variables]))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_lengths_may_be_unknown():
    layer, _ = livened()
    run = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 4))], autograph=False)
    np.testing.assert_allclose(run(X), layer(X), atol=1e-5)
