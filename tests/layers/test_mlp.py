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
