"""Attention against the equation."""

import inspect

import keras
import numpy as np
import pytest

from keras_vit.layers.attention import SelfAttention, scaled_dot_product_attention
from keras_vit.layers.heads import merge_heads, split_heads


def heads(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def queries_keys_values(keys=11):
    return heads(0, 2, 3, 11, 4), heads(1, 2, 3, keys, 4), heads(2, 2, 3, keys, 4)


@pytest.mark.parametrize("scale", [0.5, 0.1])
def test_it_is_the_equation(scale):
    q, k, v = queries_keys_values(keys=7)
    expected = softmax(scale * np.einsum("bhid,bhjd->bhij", q, k)) @ v
    np.testing.assert_allclose(scaled_dot_product_attention(q, k, v, scale), expected, atol=1e-6)


def test_a_bias_is_added_to_the_scores():
    q, k, v = queries_keys_values()
    bias = heads(3, 3, 11, 11)
    expected = softmax(0.5 * np.einsum("bhid,bhjd->bhij", q, k) + bias) @ v
    np.testing.assert_allclose(
        scaled_dot_product_attention(q, k, v, 0.5, lambda scores: scores + bias), expected, atol=1e-6
    )


def test_its_signature_has_all_arguments():
    assert list(inspect.signature(scaled_dot_product_attention).parameters)[3:] == ["scale", "add", "terms", "training"]


@pytest.mark.parametrize("bias", [True, False])
def test_self_attention_takes_q_k_v_in_this_order(bias):
    layer = SelfAttention(3, qkv_bias=bias)
    x = heads(0, 2, 5, 12)
    layer.build(x.shape)
    layer.set_weights([heads(i, *w.shape) / 12**0.5 for i, w in enumerate(layer.get_weights())])  # scores of up to 3
    shift = numpy(layer.qkv.bias) if bias else 0
    q, k, v = (numpy(split_heads(t, 3)) for t in np.split(x @ numpy(layer.qkv.kernel) + shift, 3, axis=-1))
    merged = numpy(merge_heads(softmax(np.einsum("bhid,bhjd->bhij", q, k) / 2) @ v))
    expected = merged @ numpy(layer.proj.kernel)
    np.testing.assert_allclose(layer(x), expected + numpy(layer.proj.bias), atol=1e-6)
    assert len(layer.weights) == (4 if bias else 3)


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="num_heads must divide the 10 channels"):
        SelfAttention(3).build((None, 5, 10))
