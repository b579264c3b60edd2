import numpy as np
import pytest
import tensorflow as tf

from keras_vit.tf_graph.shapes import measure, remove_idle
from keras_vit.tf_graph.tracing import trace
from tests.tf_graph.made import IMAGES, SHAPE, draw, graph_of, run


def test_shapes_and_types_of_a_batch():
    graph = trace(lambda x: tf.cast(tf.reduce_sum(x, (1, 2)), tf.float16), SHAPE)
    (tensor,) = graph.outputs.values()
    assert measure(graph, 7)[tensor] == (7, 3) and graph.shape(tensor) == (2, 3)
    assert graph.dtype(tensor) == "float16" and graph.dtype(graph.input) == "float32"


def test_reshapes_take_constants_that_leave_the_batch_free():
    W = draw(3, 5)
    graph = graph_of(lambda x: tf.tensordot(x, W, 1), remove_idle)
    assert graph.kinds() == {"MatMul": 1, "Placeholder": 1, "Reshape": 2}
    for images in (IMAGES, IMAGES[:1]):
        np.testing.assert_allclose(run(graph, images), images @ W, rtol=1e-5, atol=1e-5)


def test_a_reshape_to_sides_that_both_grow_with_the_batch_stays_computed():
    def function(x):
        batch = tf.shape(x)[0]
        return tf.reshape(tf.tile(x, (batch, 1, 1, 1)), (batch, batch, 144))

    graph = graph_of(function)
    np.testing.assert_array_equal(run(graph), function(IMAGES))


def test_what_changes_nothing_is_removed():
    def function(x):
        x = tf.transpose(tf.reshape(x, (-1, 48, 3)), (0, 1, 2))
        x = tf.reshape(tf.reshape(tf.nn.relu(x), (-1, 3)), (-1, 48, 3))
        return tf.transpose(tf.nn.elu(x), (0, 2, 1))

    graph = graph_of(function, remove_idle)
    assert graph.kinds() == {"Elu": 1, "Placeholder": 1, "Relu": 1, "Reshape": 1, "Transpose": 1}
    np.testing.assert_array_equal(run(graph), function(IMAGES))


@pytest.mark.parametrize("shape", [(-1, 3, 2, 8, 3), (-1, 8, 6, 3)])
def test_reshapes_that_move_numbers_stay(shape):
    graph = graph_of(lambda x: tf.reshape(tf.nn.relu(x), shape), remove_idle)
    assert graph.kinds()["Reshape"] == 1
    np.testing.assert_array_equal(run(graph), np.maximum(IMAGES, 0).reshape(shape))
