"""Attention in chunks against the whole, and what layers compute a second time in training instead of keeping it."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.layers import memory
from keras_vit.layers.attention import SelfAttention, scaled_dot_product_attention
from keras_vit.layers.memory import LARGEST_SCORES, count_chunks
from keras_vit.layers.mlp import MLP

EQUATION = inspect.unwrap(scaled_dot_product_attention)


def heads(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def queries_keys_values(keys=11):
    return heads(0, 2, 3, 11, 4), heads(1, 2, 3, keys, 4), heads(2, 2, 3, keys, 4)


@pytest.fixture
def small_limit(monkeypatch):
    """Eleven queries in four chunks: three, three, three and two."""
    monkeypatch.setattr(memory, "LARGEST_SCORES", memory.ASSUMED_BATCH * 3 * 3 * 11 * 4)
    assert count_chunks(3, 11, 11) == 4


@pytest.mark.parametrize("keys", [11, 6])
@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_chunks_equal_the_whole(keys, jit_compile, small_limit):
    q, k, v = queries_keys_values(keys)
    chunked = (
        tf.function(scaled_dot_product_attention, jit_compile=jit_compile)
        if jit_compile is not None
        else scaled_dot_product_attention
    )
    np.testing.assert_allclose(chunked(q, k, v, 0.5), EQUATION(q, k, v, 0.5), atol=1e-6)


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_gradients_of_chunks_equal_those_of_the_whole(jit_compile, small_limit):
    tensors, weights = [tf.constant(t) for t in queries_keys_values()], heads(5, 2, 3, 11, 4)

    def gradients(function):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = tf.reduce_sum(weights * function(*tensors, 0.5))
        return tape.gradient(loss, tensors)

    chunked = tf.function(gradients, jit_compile=jit_compile) if jit_compile is not None else gradients
    for ours, expected in zip(chunked(scaled_dot_product_attention), gradients(EQUATION)):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_chunks_keep_the_compute_dtype(small_limit):
    q, k, v = (keras.ops.cast(t, "bfloat16") for t in queries_keys_values())
    chunked, whole = scaled_dot_product_attention(q, k, v, 0.5), EQUATION(q, k, v, 0.5)
    assert chunked.dtype == "bfloat16"
    np.testing.assert_allclose(keras.ops.cast(chunked, "float32"), keras.ops.cast(whole, "float32"), atol=2e-2)


def test_each_chunk_waits_for_the_one_before(small_limit):
    """In TensorFlow's graph each softmax needs all the ones before it, or several scores would be alive at once."""

    @tf.function(input_signature=[tf.TensorSpec((None, 3, 11, 4))] * 3)
    def gradients(q, k, v):
        with tf.GradientTape() as tape:
            tape.watch([q, k, v])
            loss = tf.reduce_sum(scaled_dot_product_attention(q, k, v, 0.5) ** 2)
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

    np.testing.assert_allclose(scaled_dot_product_attention(q, k, v, 0.5, add), EQUATION(q, k, v, 0.5), atol=1e-6)
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


# layer, and the operations of which there are then two
CASES = {
    "attention": (lambda: SelfAttention(2), {"Softmax"}),
    "relative positions": (lambda: SelfAttention(2, relative_positions=True), {"Softmax"}),
    "mlp": (lambda: MLP(7), {"Erf", "Erfc"}),
}


@pytest.mark.parametrize("make, kinds", CASES.values(), ids=CASES)
def test_training_computes_again_for_the_same_gradients(make, kinds):
    layer = make()
    layer.build((None, 5, 6))
    x = tf.constant(np.random.default_rng(0).standard_normal((3, 5, 6)).astype("float32"))  # B N C

    @tf.function(autograph=False)
    def gradients(training):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=training) ** 2)
        return tape.gradient(loss, [x, *(variable.value for variable in layer.trainable_variables)])

    kept, again = (gradients.get_concrete_function(training) for training in (False, True))
    assert [sum(op.type in kinds for op in function.graph.get_operations()) for function in (kept, again)] == [1, 2]
    for expected, found in zip(kept(), again(), strict=True):
        expected, found = (keras.ops.convert_to_numpy(gradient) for gradient in (expected, found))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
