"""The MLP and LayerScale against their equations."""

import math

import numpy as np
import tensorflow as tf

from keras_vit.layers import MLP, LayerScale


def test_mlp_uses_the_exact_gelu():
    layer = MLP(7)
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype("float32")
    result = np.asarray(layer(x))
    hidden = x @ np.asarray(layer.fc1.kernel) * 3 + 1
    layer.fc1.kernel.assign(layer.fc1.kernel * 3)
    layer.fc1.bias.assign(layer.fc1.bias + 1)
    gelu = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    np.testing.assert_allclose(layer(x), gelu @ np.asarray(layer.fc2.kernel), atol=1e-6)
    assert result.shape == x.shape


def test_lengths_may_be_unknown():
    layer = MLP(7)
    layer.build((None, None, 4))
    run = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 4))], autograph=False)
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype("float32")
    np.testing.assert_allclose(run(x), layer(x), atol=1e-6)


def test_training_computes_gelu_again_for_the_same_gradients():
    layer = MLP(7)
    layer.build((None, 5, 4))
    x = tf.constant(np.random.default_rng(0).standard_normal((2, 5, 4)).astype("float32"))

    @tf.function(autograph=False)
    def gradients(training):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=training) ** 2)
        return tape.gradient(loss, [x, *(variable.value for variable in layer.trainable_variables)])

    kept, again = (gradients.get_concrete_function(training) for training in (False, True))
    numbers = [sum(op.type in ("Erf", "Erfc") for op in function.graph.get_operations()) for function in (kept, again)]
    assert numbers == [1, 2]
    for expected, found in zip(kept(), again(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_initial_kernels_are_small_normals():
    layer = MLP(300)
    layer.build((None, 200))
    kernel = np.asarray(layer.fc1.kernel)
    assert abs(kernel.std() - 0.02) < 0.0005 and abs(kernel.mean()) < 0.0005
    assert not np.any(layer.fc1.bias)


def test_layer_scale():
    layer = LayerScale(0.25)
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype("float32")
    np.testing.assert_allclose(layer(x), x / 4)
    layer.gamma.assign(np.arange(4.0))
    np.testing.assert_allclose(layer(x), x * np.arange(4.0))
