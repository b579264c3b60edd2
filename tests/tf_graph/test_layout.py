import math

import numpy as np
import tensorflow as tf

from keras_vit.tf_graph.layout import biases_beside_products, gelu_by_erf
from tests.tf_graph.made import IMAGES, draw, graph_of, run

W, B = draw(3, 5), draw(5)


def test_a_bias_stands_beside_its_product():
    graph = graph_of(lambda x: tf.nn.relu(tf.nn.bias_add(tf.tensordot(x, W, 1), B)), biases_beside_products)
    bias = graph.consumers(next(one for one in graph.operators if one.kind == "MatMul").output)
    assert [operator.kind for operator, _ in bias] == ["BiasAdd"]
    np.testing.assert_allclose(run(graph), np.maximum(IMAGES @ W + B, 0), rtol=1e-5, atol=1e-5)


def test_it_stays_behind_a_reshape_that_others_take_or_that_moves_the_channels():
    def two(x):
        x = tf.reshape(tf.matmul(tf.reshape(x, (-1, 3)), W), (-1, 48, 5))
        return {"a": tf.nn.bias_add(x, B), "b": x}

    def moved(x):
        x = tf.reshape(tf.matmul(tf.reshape(x, (-1, 3)), W), (-1, 24, 10))
        return tf.nn.bias_add(x, np.tile(B, 2))

    for function in (two, moved):
        graph = graph_of(function)
        before = [operator.name for operator in graph.operators]
        biases_beside_products(graph)
        assert [operator.name for operator in graph.operators] == before


def test_gelu_by_erf():
    graph = graph_of(lambda x: tf.nn.gelu(x, approximate=False), gelu_by_erf)
    assert graph.kinds()["Erf"] == 1 and not {"Erfc", "Neg"} & set(graph.kinds())
    x = np.linspace(-12, 12, IMAGES.size, dtype="float32").reshape(IMAGES.shape)
    expected = [value / 2 * math.erfc(-value / math.sqrt(2)) for value in x.ravel().tolist()]
    np.testing.assert_allclose(run(graph, x).ravel(), expected, rtol=1e-6, atol=1e-6)


def test_other_complementary_error_functions_stay():
    graph = graph_of(lambda x: tf.math.erfc(x * 2.0), gelu_by_erf)
    assert graph.kinds()["Erfc"] == 1
