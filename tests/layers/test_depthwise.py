"""Depthwise convolutions in parts against the whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.layers.depthwise import PARTS, SIZE, DepthwiseConv2D, depthwise_in_parts


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def convolution(size):
    layer = DepthwiseConv2D(size, padding="same")
    layer.build((None, None, None, 6))
    layer.set_weights([normal(*weight.shape) / size for weight in layer.weights])
    return layer


def operators(layer, shape):
    graph = tf.function(layer, autograph=False).get_concrete_function(tf.TensorSpec(shape)).graph
    return [operation for operation in graph.get_operations() if operation.type == "DepthwiseConv2dNative"]


def test_parts_cover_the_kernel_once():
    covered = np.zeros(SIZE, int)
    for part in PARTS:
        covered[part] += 1
        assert covered[part].size <= 25
    assert (covered == 1).all()


@pytest.mark.parametrize("shape", [(2, 9, 12, 6), (1, 7, 7, 6), (1, 2, 1, 6)])
def test_the_sum_of_the_parts_is_the_whole(shape):
    layer, x = convolution(7), normal(*shape)
    whole = keras.ops.convert_to_numpy(layer(x))
    with depthwise_in_parts():
        assert [operation.inputs[1].shape[:2] for operation in operators(layer, shape)] == [(5, 5), (5, 2), (2, 7)]
        np.testing.assert_allclose(layer(x), whole, atol=2e-6)
    assert [operation.inputs[1].shape[:2] for operation in operators(layer, shape)] == [SIZE]


def test_smaller_kernels_stay_whole():
    with depthwise_in_parts():
        assert len(operators(convolution(5), (1, 9, 9, 6))) == 1


def test_the_layer_is_keras_own_elsewhere():
    ours, x = convolution(7), normal(2, 9, 12, 6)
    theirs = keras.layers.DepthwiseConv2D.from_config(ours.get_config())
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_array_equal(ours(x), theirs(x))
