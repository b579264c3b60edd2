import numpy as np
import pytest
import tensorflow as tf

from keras_vit.tf_graph.normalisations import separate_normalisations
from tests.tf_graph.made import IMAGES, draw, graph_of, layer_norm, run, standardised

GAMMA, BETA = draw(3), draw(3)
FORMS = {  # scale and shift: how many products and sums there are, of the norm, of epsilon, and of these
    "both": (GAMMA, BETA, 2, 2),
    "scale": (GAMMA, None, 2, 1),
    "shift": (None, BETA, 1, 2),
    "neither": (None, None, 1, 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_scale_and_shift_come_last(form):
    gamma, beta, products, sums = FORMS[form]
    graph = graph_of(lambda x: layer_norm(x, gamma, beta), separate_normalisations)
    expected = standardised(IMAGES) * (1 if gamma is None else gamma) + (0 if beta is None else beta)
    np.testing.assert_allclose(run(graph), expected, rtol=1e-5, atol=1e-5)
    found = graph.kinds()
    assert (found["Mul"], found["AddV2"]) == (products, sums) and not {"Neg", "SquaredDifference"} & set(found)
    last = graph.producer(graph.outputs["output"])
    assert any(graph.constant(tensor) is not None for tensor in last.inputs) == (form != "neither")


def test_the_form_of_tf_nn_batch_normalization():
    def norm(x):
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, BETA, GAMMA, 1e-6)

    graph = graph_of(norm, separate_normalisations)
    np.testing.assert_allclose(run(graph), standardised(IMAGES) * GAMMA + BETA, rtol=1e-5, atol=1e-5)
    assert graph.kinds()["Square"] == 1


def test_its_outputs_stay_where_they_are_taken_themselves():
    graph = graph_of(lambda x: {"norm": layer_norm(x, GAMMA, BETA), "twice": 2.0 * x}, separate_normalisations)
    np.testing.assert_allclose(run(graph)["norm"], standardised(IMAGES) * GAMMA + BETA, rtol=1e-5, atol=1e-5)


def other_mean(x):
    mean = tf.reduce_mean(x, (1, 2), keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), -1, keepdims=True)
    factor = tf.math.rsqrt(variance + 1e-6)
    return x * factor + -mean * factor


def other_variance(x):
    mean = tf.reduce_mean(x, -1, keepdims=True)
    factor = tf.math.rsqrt(tf.reduce_mean(tf.math.squared_difference(x, tf.abs(mean)), -1, keepdims=True) + 1e-6)
    return x * factor + -mean * factor


def other_factor(x):
    mean = tf.reduce_mean(x, -1, keepdims=True)
    factor = tf.math.rsqrt(tf.reduce_mean(tf.math.squared_difference(x, mean), -1, keepdims=True) + 1e-6)
    return x * factor + -mean * (factor * GAMMA)


def from_outside(x):
    mean = tf.reduce_mean(x, -1, keepdims=True)
    factor = tf.math.rsqrt(tf.reduce_mean(tf.math.squared_difference(x, mean), -1, keepdims=True) + 1e-6)
    return tf.abs(x) * factor + -mean * factor


@pytest.mark.parametrize("function", [other_mean, other_variance, other_factor, from_outside])
def test_what_only_looks_like_one_stays(function):
    graph = graph_of(function)
    before, expected = graph.kinds(), run(graph)
    separate_normalisations(graph)
    assert graph.kinds() == before
    np.testing.assert_array_equal(run(graph), expected)
