"""Spatial-reduction attention against loops."""

import keras
import numpy as np
import pytest

from keras_vit.layers.spatial_reduction import SpatialReductionAttention, attend_to, flatten_map


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def dense(x, layer):
    return x @ numpy(layer.kernel) + numpy(layer.bias)


def attention(q, k, v, num_heads):
    """Head by head, query by query.  (N, C), (n, C), (n, C) -> (N, C)."""
    d, out = q.shape[1] // num_heads, np.zeros_like(q)
    for head in range(num_heads):
        part = slice(head * d, head * d + d)
        for i in range(len(q)):
            weights = np.exp(k[:, part] @ q[i, part] / np.sqrt(d))
            out[i, part] = weights @ v[:, part] / weights.sum()
    return out


def reduce_map(x, layer, R):
    """(H, W, C) -> (H/R W/R, C): R x R squares projected, then normalised; what does not fill a square is left out."""
    kernel, bias = numpy(layer.sr.kernel), numpy(layer.sr.bias)
    squares = [
        np.einsum("abc,abco->o", x[i : i + R, j : j + R], kernel) + bias
        for i in range(0, x.shape[0] - R + 1, R)
        for j in range(0, x.shape[1] - R + 1, R)
    ]
    y = np.array(squares)
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    return y * numpy(layer.norm.gamma) + numpy(layer.norm.beta)


def built(layer, x):
    layer(x)
    for i, variable in enumerate(layer.weights):
        variable.assign(normal(*variable.shape, seed=i) / 3)
    return layer


@pytest.mark.parametrize("R, height, width", [(1, 3, 4), (2, 4, 6), (3, 6, 3), (2, 5, 7)])
def test_equals_attention_to_the_reduced_map(R, height, width):
    x = normal(2, height, width, 6)
    layer = built(SpatialReductionAttention(3, R), x)
    out = numpy(layer(x))
    assert out.shape == x.shape == layer.compute_output_shape(x.shape)
    for image, got in zip(x, out):
        q = dense(image.reshape(-1, 6), layer.q)
        kv = dense(image.reshape(-1, 6) if R == 1 else reduce_map(image, layer, R), layer.kv)
        expected = dense(attention(q, kv[:, :6], kv[:, 6:], 3), layer.proj)
        np.testing.assert_allclose(got.reshape(-1, 6), expected, atol=1e-4)


def test_without_reduction_tokens_may_come_in_any_order():
    x, order = normal(2, 7, 6), np.random.default_rng(1).permutation(7)
    layer = built(SpatialReductionAttention(2), x)
    np.testing.assert_allclose(layer(x[:, order]), numpy(layer(x))[:, order], atol=1e-5)


def test_equal_keys_give_the_mean_of_the_values():
    queries, keys, values = (normal(2, 5, 6), normal(2, 1, 6, seed=1).repeat(4, axis=1), normal(2, 4, 6, seed=2))
    expected = values.mean(axis=1, keepdims=True).repeat(5, axis=1)
    np.testing.assert_allclose(attend_to(queries, np.concatenate([keys, values], -1), 3), expected, atol=1e-6)


def test_maps_are_flattened_row_by_row():
    x = normal(2, 3, 4, 5)
    np.testing.assert_array_equal(flatten_map(x), x.reshape(2, 12, 5))
    np.testing.assert_array_equal(flatten_map(x[:, 0]), x[:, 0])


def test_reduction_norm_has_its_own_epsilon():
    assert built(SpatialReductionAttention(3, 2), normal(1, 4, 4, 6)).norm.epsilon == 1e-5


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="num_heads must divide the 6 channels. Received: num_heads=4"):
        SpatialReductionAttention(4).build((None, 4, 4, 6))
    with pytest.raises(ValueError, match="expected a map .* for reduction=2"):
        SpatialReductionAttention(3, 2).build((None, 16, 6))
