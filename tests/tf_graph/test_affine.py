import numpy as np
import pytest
import tensorflow as tf

from keras_vit.tf_graph.affine import fold_into_next, fold_into_previous
from keras_vit.tf_graph.layout import biases_beside_products
from keras_vit.tf_graph.normalisations import separate_normalisations
from keras_vit.tf_graph.shapes import remove_idle
from tests.tf_graph.made import IMAGES, draw, graph_of, layer_norm, run, standardised

GAMMA, BETA = draw(3) + 2, draw(3)
W, B = draw(3, 5), draw(5)
KERNEL = draw(2, 2, 3, 4)
DEPTHWISE = draw(3, 3, 3, 2)
NORMS = (separate_normalisations, remove_idle, biases_beside_products)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def affine(x):
    return x * GAMMA + BETA


def patches(x, kernel=KERNEL, padding="VALID", strides=2):
    return tf.nn.conv2d(x, kernel, strides, padding)


def numpy_patches(x, kernel=KERNEL):
    """A convolution of stride 2 without padding, in numpy."""
    B, H, W, C = x.shape
    x = x.reshape(B, H // 2, 2, W // 2, 2, C)
    return np.einsum("bhiwjc,ijco->bhwo", x, kernel)


def both_ways(function):
    """The graph after both folds, and what it gives."""
    graph = graph_of(function, *NORMS, fold_into_previous, fold_into_next)
    return graph.kinds(), run(graph)


def test_the_scale_and_shift_of_a_norm_go_into_dense_layers():
    V = draw(3, 2)

    def function(x):
        x = layer_norm(x, GAMMA, BETA)
        return tf.concat([tf.nn.bias_add(tf.tensordot(x, W, 1), B), tf.tensordot(x, V, 1)], -1)

    kinds, given = both_ways(function)
    x = standardised(IMAGES) * GAMMA + BETA
    np.testing.assert_allclose(given, np.concatenate([x @ W + B, x @ V], -1), **TOLERANCE)
    assert (kinds["Mul"], kinds["AddV2"], kinds["BiasAdd"]) == (1, 1, 2)  # (x - mean) r, epsilon, two biases


def test_they_go_through_windows_a_roll_a_mean_and_a_token():
    token, head = draw(1, 1, 3), draw(3, 2)

    def function(x):
        x = tf.roll(layer_norm(x, GAMMA, BETA), (1, 2), (1, 2))
        windows = tf.reshape(tf.transpose(tf.reshape(x, (-1, 2, 3, 2, 4, 3)), (0, 1, 3, 2, 4, 5)), (-1, 12, 3))
        return tf.matmul(tf.reduce_mean(windows, 1), head)

    kinds, given = both_ways(function)
    x = np.roll(standardised(IMAGES) * GAMMA + BETA, (1, 2), (1, 2)).reshape(-1, 2, 3, 2, 4, 3)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, 12, 3).mean(1)
    np.testing.assert_allclose(given, x @ head, **TOLERANCE)
    assert (kinds["Mul"], kinds["AddV2"]) == (1, 1)

    kinds, _ = both_ways(
        lambda x: tf.tensordot(tf.concat([tf.reshape(affine(x), (1, -1, 3)), token], 1), W, 1)
    )  # the token would have to be scaled as well
    assert (kinds["Mul"], kinds["AddV2"]) == (1, 1)


def test_they_go_into_a_convolution_that_does_not_pad():
    kinds, given = both_ways(lambda x: patches(affine(x)))
    np.testing.assert_allclose(given, numpy_patches(IMAGES * GAMMA + BETA), **TOLERANCE)
    assert not {"Mul", "AddV2"} & set(kinds)


def test_zeros_beside_the_image_let_the_factor_pass_alone():
    def function(x):
        return tf.nn.conv2d(affine(x), KERNEL, 1, "SAME")

    expected = tf.nn.conv2d(np.float32(IMAGES * GAMMA + BETA), KERNEL, 1, "SAME")
    kinds, given = both_ways(function)
    np.testing.assert_allclose(given, expected, **TOLERANCE)
    assert kinds["AddV2"] == 1 and "Mul" not in kinds

    def padded(x):
        return patches(tf.pad(affine(x), ((0, 0), (1, 1), (1, 1), (0, 0))))

    kinds, given = both_ways(padded)
    x = np.pad(IMAGES * GAMMA + BETA, ((0, 0), (1, 1), (1, 1), (0, 0)))
    np.testing.assert_allclose(given, numpy_patches(x), **TOLERANCE)
    assert kinds["AddV2"] == 1 and "Mul" not in kinds


def test_a_factor_of_zero_keeps_its_offset_in_front_of_a_convolution_that_pads():
    gamma = np.float32([1, 0, 2])
    kinds, given = both_ways(lambda x: tf.nn.conv2d(x * gamma + BETA, KERNEL, 1, "SAME"))
    np.testing.assert_allclose(given, tf.nn.conv2d(IMAGES * gamma + BETA, KERNEL, 1, "SAME"), **TOLERANCE)
    assert (kinds["AddV2"], kinds["Mul"]) == (1, 1)


def test_same_padding_that_adds_nothing_lets_offsets_pass():
    kinds, given = both_ways(lambda x: patches(affine(x), padding="SAME"))
    np.testing.assert_allclose(given, numpy_patches(IMAGES * GAMMA + BETA), **TOLERANCE)
    assert not {"Mul", "AddV2"} & set(kinds)


def test_the_normalisation_of_pixels_goes_into_the_patch_embedding():
    mean, std = np.float32([0.5, 0.4, 0.3]), np.float32([0.2, 0.25, 0.3])
    pixels = np.random.default_rng(0).uniform(0, 255, IMAGES.shape).astype("float32")
    graph = graph_of(lambda x: patches((x / 255.0 - mean) / std), fold_into_previous, fold_into_next)
    np.testing.assert_allclose(run(graph, pixels), numpy_patches((pixels / 255 - mean) / std), rtol=1e-4, atol=1e-5)
    assert set(graph.kinds()) == {"Placeholder", "Conv2D", "BiasAdd"}
    graph = graph_of(lambda x: patches((x / 255.0 - mean) / std, strides=1, padding="SAME"), fold_into_next)
    expected = tf.nn.conv2d((pixels / 255 - mean) / std, KERNEL, 1, "SAME")
    np.testing.assert_allclose(run(graph, pixels), expected, rtol=1e-4, atol=1e-4)
    assert graph.kinds()["AddV2"] == 1 and not {"RealDiv", "Mul", "Sub"} & set(graph.kinds())


def test_a_depthwise_convolution_takes_both():
    kinds, given = both_ways(lambda x: tf.nn.depthwise_conv2d(affine(x), DEPTHWISE, (1, 1, 1, 1), "VALID"))
    expected = tf.nn.depthwise_conv2d(np.float32(IMAGES * GAMMA + BETA), DEPTHWISE, (1, 1, 1, 1), "VALID")
    np.testing.assert_allclose(given, expected, **TOLERANCE)
    assert not {"Mul", "AddV2"} & set(kinds)


def test_pooling_by_a_matrix_whose_rows_sum_to_one_lets_offsets_pass():
    pool = np.float32([[0.5, 0.5, 0, 0], [0, 0.25, 0.25, 0.5]])

    def pooled(x, matrix):
        return tf.tensordot(tf.matmul(matrix, tf.reshape(affine(x), (-1, 12, 4, 3))), W, 1)

    kinds, given = both_ways(lambda x: pooled(x, pool))
    x = (IMAGES * GAMMA + BETA).reshape(-1, 12, 4, 3)
    np.testing.assert_allclose(given, pool @ x @ W, **TOLERANCE)
    assert not {"Mul", "AddV2"} & set(kinds)
    kinds, given = both_ways(lambda x: pooled(x, 2 * pool))
    np.testing.assert_allclose(given, 2 * pool @ x @ W, **TOLERANCE)
    assert kinds["AddV2"] == 1 and "Mul" not in kinds


NOT_ONLY_PRODUCTS = {
    "an output": lambda x: {"a": affine(x), "b": tf.tensordot(affine(x), W, 1)},
    "a residual": lambda x: affine(x)[..., :1] + tf.tensordot(affine(x), W, 1),
    "another activation": lambda x: tf.tensordot(tf.nn.gelu(affine(x)), W, 1),
    "channels that meet": lambda x: tf.tensordot(tf.reshape(affine(x), (-1, 24)), np.tile(W, (8, 1)), 1)
    + tf.tensordot(tf.reshape(affine(x), (-1, 16)), draw(16, 5), 1)[:1],
    "a shared kernel": lambda x: tf.matmul(tf.reshape(affine(x), (-1, 3)), BIG)
    + tf.matmul(tf.reshape(tf.abs(x), (-1, 3)), BIG),
    "a product with what is computed": lambda x: tf.matmul(affine(x), x, transpose_b=True),
}
BIG = tf.constant(draw(3, 400))


@pytest.mark.parametrize("reason", NOT_ONLY_PRODUCTS)
def test_nothing_is_folded_into_products_if_something_else_sees_it(reason):
    function = NOT_ONLY_PRODUCTS[reason]
    graph = graph_of(function)
    before, expected = graph.kinds(), run(graph)
    fold_into_next(graph)
    assert graph.kinds() == before
    for given, one in zip(tf.nest.flatten(run(graph)), tf.nest.flatten(expected)):
        np.testing.assert_array_equal(given, one)


def test_layer_scale_goes_into_the_layer_before():
    gamma = draw(5)
    kinds, given = both_ways(lambda x: gamma * tf.reshape(tf.nn.bias_add(tf.tensordot(x, W, 1), B), (-1, 48, 5)))
    np.testing.assert_allclose(given, (gamma * (IMAGES @ W + B)).reshape(-1, 48, 5), **TOLERANCE)
    assert "Mul" not in kinds and kinds["BiasAdd"] == 1


@pytest.mark.parametrize("multiplier", [1, 2])
def test_batch_norm_goes_into_the_convolution_before(multiplier):
    kernel = DEPTHWISE[..., :multiplier]
    mean, variance, gamma, beta = (draw(3 * multiplier) for _ in range(4))
    variance = np.abs(variance) + 0.1

    def function(x):
        x = tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "SAME")
        return tf.nn.relu(tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3))

    kinds, given = both_ways(function)
    x = tf.nn.depthwise_conv2d(IMAGES, kernel, (1, 1, 1, 1), "SAME").numpy()
    expected = np.maximum((x - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0)
    np.testing.assert_allclose(given, expected, **TOLERANCE)
    assert set(kinds) == {"Placeholder", "DepthwiseConv2dNative", "BiasAdd", "Relu"}


def test_the_factor_of_queries_goes_into_their_columns_alone():
    qkv, bias = draw(3, 12), draw(12)

    def attention(x):
        x = tf.reshape(tf.nn.bias_add(tf.tensordot(x, qkv, 1), bias), (-1, 48, 12))
        q, k, v = (tf.transpose(tf.reshape(t, (-1, 48, 2, 2)), (0, 2, 1, 3)) for t in tf.split(x, 3, -1))
        return tf.matmul(tf.nn.softmax(tf.matmul(q * 0.7, k, transpose_b=True)), v)

    kinds, given = both_ways(attention)
    q, k, v = ((IMAGES @ qkv + bias).reshape(-1, 48, 3, 2, 2).transpose(2, 0, 3, 1, 4)).astype("float64")
    scores = np.exp(0.7 * q @ k.swapaxes(-1, -2))
    np.testing.assert_allclose(given, scores / scores.sum(-1, keepdims=True) @ v, **TOLERANCE)
    assert "Mul" not in kinds


NOT_OF_ONE_LAYER = {
    "two see the channels": lambda y: (y * 2.0) + y,
    "one per place": lambda y: y * np.arange(1, 9, dtype="float32")[:, None],
    "channels of another layer": lambda y: tf.concat([y, tf.abs(y[..., :1])], -1) * 2.0,
    "an offset behind padding": lambda y: tf.pad(y, ((0, 0), (1, 1), (0, 0), (0, 0))) + 1.0,
    "an output": lambda y: {"y": y, "z": y * 2.0},
}


@pytest.mark.parametrize("reason", NOT_OF_ONE_LAYER)
def test_nothing_is_folded_back_if_it_is_not_of_one_layer_alone(reason):
    graph = graph_of(lambda x: NOT_OF_ONE_LAYER[reason](tf.nn.conv2d(x, draw(1, 1, 3, 5), 1, "SAME")))
    before, expected = graph.kinds(), run(graph)
    fold_into_previous(graph)
    assert graph.kinds() == before
    for given, one in zip(tf.nest.flatten(run(graph)), tf.nest.flatten(expected)):
        np.testing.assert_array_equal(given, one)
