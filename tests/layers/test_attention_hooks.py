"""Reports of attention: what is reported is what multiplies the values; without an observer they cost nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.layers import memory, merge_heads, split_heads
from keras_vit.layers.attention import scaled_dot_product_attention
from keras_vit.layers.attention_hooks import observed, observing, report_attention
from keras_vit.layers.conv_attention import factorised_attention
from keras_vit.models.t2t import PERFORMER_EPSILON, linear_attention, random_features


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def reports(function, *arguments):
    """(left, right) of each report, and the result."""
    kept = []
    with observing(lambda left, right=None: kept.append((left, right))):
        result = keras.ops.convert_to_numpy(function(*arguments))
    return [tuple(x if x is None else keras.ops.convert_to_numpy(x) for x in pair) for pair in kept], result


@pytest.mark.parametrize("bias", [None, noise(3, 3, 11, 7)], ids=["plain", "with a bias"])
def test_reported_weights_times_the_values_are_the_result(bias):
    q, k, v = noise(0, 2, 3, 11, 4), noise(1, 2, 3, 7, 4), noise(2, 2, 3, 7, 4)
    add = None if bias is None else lambda scores: scores + bias
    [(weights, right)], result = reports(scaled_dot_product_attention, q, k, v, 0.5, add)
    assert right is None and weights.shape == (2, 3, 11, 7)
    np.testing.assert_allclose(np.sum(weights, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(weights @ v, result, atol=1e-6)


def test_chunks_are_reported_whole(monkeypatch):
    q, k, v = (noise(i, 2, 3, 11, 4) for i in range(3))
    [(expected, _)], whole = reports(scaled_dot_product_attention, q, k, v, 0.5)
    monkeypatch.setattr(memory, "LARGEST_SCORES", memory.ASSUMED_BATCH * 3 * 3 * 11 * 4)
    [(weights, _)], result = reports(scaled_dot_product_attention, q, k, v, 0.5)
    np.testing.assert_array_equal(weights, expected)
    np.testing.assert_array_equal(result, whole)


def test_factors_of_factorised_attention():
    qkv = noise(0, 2, 7, 36)
    [(left, right)], result = reports(factorised_attention, qkv, 3)
    v = split_heads(qkv[..., 24:], 3)
    np.testing.assert_allclose(merge_heads((left @ np.swapaxes(right, -1, -2)) @ v), result, atol=1e-6)
    np.testing.assert_allclose(np.sum(right, axis=2), 1, atol=1e-6)


def test_factors_of_the_performer():
    w = noise(0, 6, 12)
    q, k = (keras.ops.convert_to_numpy(random_features(noise(seed, 2, 9, 12), w)) for seed in (1, 2))
    v = noise(3, 2, 9, 12)
    [(left, right)], result = reports(linear_attention, q, k, v)
    weights = (left @ np.swapaxes(right, -1, -2))[:, 0]
    assert weights.shape == (2, 9, 9) and weights.min() >= 0
    sums = q @ k.swapaxes(-1, -2).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(weights.sum(axis=-1), (sums / (sums + PERFORMER_EPSILON))[..., 0], rtol=1e-5)
    np.testing.assert_allclose(weights @ v, result, atol=1e-6)


def test_without_an_observer_reports_cost_nothing():
    """The weights are not formed, and the graph of an attention has the operations of its equation."""
    report_attention(lambda: pytest.fail("formed without an observer"))
    assert not observed()
    shape = tf.TensorSpec((2, 3, 11, 4))
    graph = (
        tf.function(lambda q, k, v: scaled_dot_product_attention(q, k, v, 0.5))
        .get_concrete_function(shape, shape, shape)
        .graph
    )
    kinds = sorted(op.type for op in graph.get_operations() if "MatMul" in op.type or op.type == "Softmax")
    assert kinds == ["BatchMatMulV2", "BatchMatMulV2", "Softmax"]
    performer = tf.function(linear_attention).get_concrete_function(*[tf.TensorSpec((2, 9, 6))] * 3).graph
    assert [op.type for op in performer.get_operations()].count("RealDiv") == 1


def test_observing_ends_with_its_context_and_can_be_nested():
    outer, inner = [], []
    with pytest.raises(RuntimeError, match="stop"):
        with observing(lambda *weights: outer.append(weights)):
            with observing(lambda *weights: inner.append(weights)):
                report_attention(lambda: (1,))
            report_attention(lambda: (2, 3))
            raise RuntimeError("stop")
    report_attention(lambda: (4,))
    assert (outer, inner) == ([(2, 3)], [(1,)])
