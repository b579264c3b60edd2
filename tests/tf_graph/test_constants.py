import numpy as np
import pytest
import tensorflow as tf

from keras_vit.tf_graph import constants
from keras_vit.tf_graph.constants import fold_constants
from keras_vit.tf_graph.inference_form import InferenceForm
from keras_vit.tf_graph.tracing import trace
from tests.tf_graph.made import IMAGES, SHAPE, draw, run


def folded(function):
    graph = trace(function, SHAPE)
    before = graph.kinds()
    fold_constants(graph)
    return graph, before


def test_a_standardised_kernel_is_computed_once():
    kernel = tf.Variable(draw(3, 3, 3, 5))

    def function(x):
        mean, variance = tf.nn.moments(kernel, (0, 1, 2))
        return tf.nn.conv2d(x, (kernel - mean) * tf.math.rsqrt(variance + 1e-10), 1, "SAME")

    graph, before = folded(function)
    assert before["Mean"] == 2 and graph.kinds() == {"Conv2D": 1, "Placeholder": 1}
    found = graph.constant(graph.producer(graph.outputs["output"]).inputs[1])
    value = kernel.numpy().astype("float64")
    np.testing.assert_allclose(found, (value - value.mean((0, 1, 2))) / value.std((0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(run(graph), function(IMAGES))


def test_a_gathered_table_with_its_mask_is_computed_once():
    table, index, mask = tf.Variable(draw(9, 2)), np.arange(64) % 9, draw(4, 1, 8, 8)

    def function(x):
        bias = tf.reshape(tf.transpose(tf.gather(table, index)), (1, 2, 8, 8)) + mask
        return tf.reshape(x, (-1, 1, 1, 18, 8)) @ bias

    graph, before = folded(function)
    assert before["GatherV2"] == 1 and set(graph.kinds()) == {"Placeholder", "Reshape", "BatchMatMulV2"}
    np.testing.assert_array_equal(run(graph), function(IMAGES))


def test_what_depends_on_the_batch_stays():
    token = draw(1, 1, 3)

    def function(x):
        return tf.concat([tf.broadcast_to(token, (tf.shape(x)[0], 1, 3)), tf.reshape(x, (-1, 48, 3))], 1)

    graph, _ = folded(function)
    assert graph.kinds()["BroadcastTo"] == 1
    np.testing.assert_array_equal(run(graph), function(IMAGES))
    np.testing.assert_array_equal(run(graph, IMAGES[:1]), function(IMAGES[:1]))


def test_random_numbers_are_drawn_anew():
    graph, before = folded(lambda x: x + tf.random.uniform((3,)))
    assert graph.kinds()["RandomUniform"] == 1 and before["AddV2"] == graph.kinds()["AddV2"]
    given = InferenceForm(graph, SHAPE).function()
    assert (given(IMAGES)["output"].numpy() != given(IMAGES)["output"].numpy()).any()


def test_constants_do_not_grow_out_of_proportion(monkeypatch):
    small, row = tf.Variable(draw(4, 3)), tf.Variable(draw(1, 3))

    def function(x):
        repeated = tf.tile(row * 2.0, (1000, 1))
        return tf.reshape(x, (-1, 3)) @ tf.transpose(tf.exp(small) * 3.0) + tf.reduce_max(x) * tf.reduce_max(
            x[..., None] * tf.reshape(repeated, (1, 1, 1, 1, -1))
        )

    graph, _ = folded(function)
    assert max(value.nbytes for value in graph.constants.values()) == 12_000  # as much is free
    monkeypatch.setattr(constants, "FREE", 1000)
    graph, _ = folded(function)
    assert max(value.nbytes for value in graph.constants.values()) < 1000
    assert graph.kinds()["Tile"] == 1 and "Exp" not in graph.kinds()
    np.testing.assert_allclose(run(graph), function(IMAGES), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_an_output_may_be_a_constant(dtype):
    graph, _ = folded(lambda x: {"a": tf.cast(tf.constant([1, 2]) * 3, dtype), "b": x})
    assert graph.kinds() == {"Placeholder": 1}
    given = run(graph)["a"]
    assert given.dtype == dtype and given.tolist() == [3, 6]
