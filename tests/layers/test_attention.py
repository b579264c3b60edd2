"""Attention against the equation, and its chunks against the whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.layers import attention
from keras_vit.layers.attention import LARGEST_SCORES, SelfAttention, attend, count_chunks, merge_heads, split_heads


def heads(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def queries_keys_values(keys=11):
    return heads(0, 2, 3, 11, 4), heads(1, 2, 3, keys, 4), heads(2, 2, 3, keys, 4)


@pytest.fixture
def small_limit(monkeypatch):
    """Eleven queries in four chunks: three, three, three and two."""
    monkeypatch.setattr(attention, "LARGEST_SCORES", attention.ASSUMED_BATCH * 3 * 3 * 11 * 4)
    assert count_chunks(3, 11, 11) == 4


def test_splitting_and_merging_heads_are_inverse():
    x = heads(0, 2, 5, 12)
    split = split_heads(x, 3)
    np.testing.assert_array_equal(split[1, 2, 4], x[1, 4, 8:])
    np.testing.assert_array_equal(merge_heads(split), x)


@pytest.mark.parametrize("scale", [0.5, 0.1])
def test_attend_is_the_equation(scale):
    q, k, v = queries_keys_values(keys=7)
    expected = softmax(scale * np.einsum("bhid,bhjd->bhij", q, k)) @ v
    np.testing.assert_allclose(attend(q, k, v, scale), expected, atol=1e-6)


def test_attend_adds_to_the_scores():
    q, k, v = queries_keys_values()
    bias = heads(3, 3, 11, 11)
    expected = softmax(0.5 * np.einsum("bhid,bhjd->bhij", q, k) + bias) @ v
    np.testing.assert_allclose(attend(q, k, v, 0.5, lambda scores: scores + bias), expected, atol=1e-6)


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


@pytest.mark.parametrize("keys", [11, 6])
@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_chunks_equal_the_whole(keys, jit_compile, small_limit):
    q, k, v = queries_keys_values(keys)
    chunked = tf.function(attend, jit_compile=jit_compile) if jit_compile is not None else attend
    np.testing.assert_allclose(chunked(q, k, v, 0.5), attention._attend(q, k, v, 0.5), atol=1e-6)


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_gradients_of_chunks_equal_those_of_the_whole(jit_compile, small_limit):
    tensors, weights = [tf.constant(t) for t in queries_keys_values()], heads(5, 2, 3, 11, 4)

    def gradients(function):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = tf.reduce_sum(weights * function(*tensors, 0.5))
        return tape.gradient(loss, tensors)

    chunked = tf.function(gradients, jit_compile=jit_compile) if jit_compile is not None else gradients
    for ours, expected in zip(chunked(attend), gradients(attention._attend)):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_chunks_keep_the_compute_dtype(small_limit):
    q, k, v = (keras.ops.cast(t, "bfloat16") for t in queries_keys_values())
    chunked, whole = attend(q, k, v, 0.5), attention._attend(q, k, v, 0.5)
    assert chunked.dtype == "bfloat16"
    np.testing.assert_allclose(keras.ops.cast(chunked, "float32"), keras.ops.cast(whole, "float32"), atol=2e-2)


def test_each_chunk_waits_for_the_one_before(small_limit):
    """In TensorFlow's graph each softmax needs all the ones before it, or several scores would be alive at once."""

    @tf.function(input_signature=[tf.TensorSpec((None, 3, 11, 4))] * 3)
    def gradients(q, k, v):
        with tf.GradientTape() as tape:
            tape.watch([q, k, v])
            loss = tf.reduce_sum(attend(q, k, v, 0.5) ** 2)
        return tape.gradient(loss, [q, k, v])

    graph = gradients.get_concrete_function().graph
    softmaxes = [op for op in graph.get_operations() if op.type == "Softmax"]
    assert len(softmaxes) == 8  # of the forward pass, and the backward pass again
    ranks = sorted(sum(other in ancestors(op) for other in softmaxes) for op in softmaxes)
    assert ranks == list(range(8))


def ancestors(op):
    found, waiting = set(), [op]
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op not in found:
                found.add(tensor.op)
                waiting.append(tensor.op)
    return found


def test_scores_to_be_added_to_are_not_cut(small_limit):
    q, k, v = queries_keys_values()
    shapes = []

    def add(scores):
        shapes.append(tuple(scores.shape))
        return scores

    np.testing.assert_allclose(attend(q, k, v, 0.5, add), attention._attend(q, k, v, 0.5), atol=1e-6)
    assert shapes == [(2, 3, 11, 11)]


@pytest.mark.parametrize(
    "num_heads, tokens, chunks",
    [(1, 56 * 56, 1), (12, 785, 1), (1, 112 * 112, 10), (12, 3137, 8)],
    ids=["T2TViTT14 at 224", "ViTB8 at 224", "T2TViTT14 at 448", "ViTB8 at 448"],
)
def test_published_sizes_stay_whole_and_large_ones_do_not(num_heads, tokens, chunks):
    assert count_chunks(num_heads, tokens, tokens) == chunks
    rows = -(-tokens // chunks)
    assert 8 * num_heads * rows * tokens * 4 <= LARGEST_SCORES * 1.01


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="num_heads must divide the 10 channels"):
        SelfAttention(3).build((None, 5, 10))
