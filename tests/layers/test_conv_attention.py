"""CoaT's attention and its convolutional positions, against loops and einsums."""

import math

import numpy as np
import pytest
from keras import ops

from keras_vit.layers.conv_attention import ConvPositions, ConvRelativePositions, ProjectQKV, factorised_attention


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def array(x):
    return ops.convert_to_numpy(x)


def test_factorised_attention_is_softmax_over_tokens():
    B, N, h, d = 2, 7, 3, 4
    q, k, v = normal(3, B, N, h, d)
    weights = np.exp(k) / np.exp(k).sum(axis=1, keepdims=True)
    context = np.einsum("bnhk,bnhv->bhkv", weights, v)
    expected = np.einsum("bnhk,bhkv->bnhv", q, context) / math.sqrt(d)
    qkv = np.concatenate([t.reshape(B, N, h * d) for t in (q, k, v)], axis=-1)
    found = array(factorised_attention(qkv, h))
    np.testing.assert_allclose(found, expected.reshape(B, N, h * d), atol=1e-5)


def test_the_softmax_of_factorised_attention_runs_in_float32():
    keys, N = np.zeros((1, 4096, 1)), 4096
    keys[0, :, 0] = np.linspace(-3, 3, N)
    qkv = np.concatenate([np.ones((1, N, 1)), keys, np.ones((1, N, 1))], axis=-1)
    half = array(factorised_attention(ops.cast(qkv, "float16"), 1)).astype("float64")
    np.testing.assert_allclose(half, 1.0, atol=5e-3)  # weights that sum to one, whatever their number


def brute_depthwise(x, kernel, bias):
    """(H, W, C), one pixel and offset at a time; zeros beyond the border."""
    (H, W, _), side = x.shape, kernel.shape[0]
    out = np.zeros_like(x) + bias
    for i, j, a, b in np.ndindex(H, W, side, side):
        y, z = i + a - side // 2, j + b - side // 2
        if 0 <= y < H and 0 <= z < W:
            out[i, j] += kernel[a, b, :, 0] * x[y, z]
    return out


def test_relative_positions_against_brute_force():
    height, width, groups, d = 4, 5, (1, 2, 3), 2
    C, layer = 12, ConvRelativePositions(height, width, groups)
    qkv = normal(2, 1 + height * width, 3 * C)
    layer.build(qkv.shape)
    for seed, variable in enumerate(layer.weights):
        variable.assign(normal(*variable.shape, seed=seed))
    q, _, v = np.split(qkv[:, 1:].reshape(2, height, width, 3 * C), 3, axis=-1)
    found = array(layer(qkv))
    assert found.shape == layer.compute_output_shape(qkv.shape)
    np.testing.assert_array_equal(found[:, 0], 0)
    start = 0
    for part, heads, window in zip(layer.convs, groups, (3, 5, 7)):
        channels = slice(start, start := start + heads * d)
        kernel, bias = array(part.kernel), array(part.bias)
        assert kernel.shape == (window, window, heads * d, 1)
        for n in range(2):
            expected = q[n, ..., channels] * brute_depthwise(v[n, ..., channels], kernel, bias)
            patches = found[n, 1:, channels].reshape(height, width, -1)
            np.testing.assert_allclose(patches, expected, atol=1e-5)
    assert start == C


def test_positions_move_patches_only():
    layer, x = ConvPositions(3, 4), normal(2, 13, 6)
    layer.build(x.shape)
    layer.proj.bias.assign(normal(6, seed=3))
    found, patches = array(layer(x)), x[:, 1:].reshape(2, 3, 4, 6)
    kernel, bias = array(layer.proj.kernel), array(layer.proj.bias)
    expected = patches + np.stack([brute_depthwise(image, kernel, bias) for image in patches])
    np.testing.assert_array_equal(found[:, 0], x[:, 0])
    np.testing.assert_allclose(found[:, 1:], expected.reshape(2, 12, 6), atol=1e-6)


def test_channels_that_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match="num_heads must divide the 10 channels"):
        ProjectQKV(4).build((None, 5, 10))
