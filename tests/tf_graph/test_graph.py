import numpy as np
import pytest
import tensorflow as tf

from tests.tf_graph.made import IMAGES, SHAPE, draw, graph_of, run

W = draw(3, 5)


def small():
    return graph_of(lambda x: tf.nn.relu(tf.matmul(tf.reshape(x, (-1, 3)), W)) * 2.0)


def of_kind(graph, kind):
    (found,) = [operator for operator in graph.operators if operator.kind == kind]
    return found


def test_operators_stand_behind_what_they_take():
    graph = small()
    given = graph.add_operator("late", "Neg", [of_kind(graph, "Relu").output], (96, 5))
    graph.give(of_kind(graph, "Mul"), 0, given)
    done = set(graph.constants)
    for operator in graph.operators:
        assert set(operator.inputs) <= done
        done.add(operator.output)
    np.testing.assert_allclose(run(graph), -2 * np.maximum(IMAGES.reshape(-1, 3) @ W, 0), rtol=1e-5, atol=1e-6)


def test_producers_and_consumers():
    graph = small()
    product, relu, twice = (of_kind(graph, kind) for kind in ("MatMul", "Relu", "Mul"))
    assert graph.producer(product.output) is product and graph.consumers(product.output) == [(relu, 0)]
    assert graph.consumers(twice.output) == [(None, "output")] and not graph.is_taken_once(twice.output)
    assert graph.is_taken_once(product.output) and graph.producer(product.inputs[1]) is None
    np.testing.assert_array_equal(graph.constant(product.inputs[1]), W)
    assert graph.constant(product.output) is None


def test_a_removed_operator_leaves_its_input():
    graph = small()
    graph.remove(of_kind(graph, "Relu"))
    assert "Relu" not in graph.kinds()
    assert graph.consumers(of_kind(graph, "MatMul").output) == [(of_kind(graph, "Mul"), 0)]
    np.testing.assert_allclose(run(graph), 2 * IMAGES.reshape(-1, 3) @ W, rtol=1e-5, atol=1e-6)


def test_what_is_not_used_goes():
    graph = small()
    graph.outputs["output"] = of_kind(graph, "Reshape").output
    graph.remove_unused()
    assert graph.kinds() == {"Placeholder": 1, "Reshape": 1} and len(graph.constants) == 1
    assert graph.size() == graph.constant(of_kind(graph, "Reshape").inputs[1]).nbytes


def test_equal_operators_become_one_and_others_do_not():
    def function(x):
        parts = [tf.reduce_sum(x, 1), tf.reduce_sum(x, 1), tf.reduce_sum(x, 2), tf.reduce_sum(x, 1, keepdims=True)]
        return {"a": parts[0], "b": parts[1], "c": parts[2], "d": parts[3]}

    graph = graph_of(function)
    assert graph.kinds()["Sum"] == 3 and graph.outputs["a"] == graph.outputs["b"]
    given = run(graph)
    np.testing.assert_allclose(given["b"], IMAGES.sum(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(given["d"], IMAGES.sum(1, keepdims=True), rtol=1e-5, atol=1e-5)


def test_parts_of_equal_splits_keep_their_numbers():
    graph = graph_of(lambda x: tf.split(x, 3, -1)[2] - 2.0 * tf.split(x, 3, -1)[1])
    assert graph.kinds()["Split"] == 1
    np.testing.assert_allclose(run(graph), IMAGES[..., 2:] - 2 * IMAGES[..., 1:2], rtol=1e-6, atol=1e-6)


def test_a_constant_is_set_for_one_operator():
    shared = tf.constant(draw(3))
    graph = graph_of(lambda x: {"a": x * shared, "b": tf.abs(x) * shared})
    first = next(operator for operator in graph.operators if operator.kind == "Mul" and graph.input in operator.inputs)
    place = 1 - first.inputs.index(graph.input)
    graph.set_constant(first, place, np.ones(3))
    assert graph.dtype(first.inputs[place]) == "float32"
    given = run(graph)
    np.testing.assert_array_equal(given["a"], IMAGES)
    np.testing.assert_array_equal(given["b"], np.abs(IMAGES) * shared.numpy())


def test_outputs_keep_their_names():
    graph = graph_of(lambda x: {"second": x + 1.0, "first": x, "same": x + 1.0})
    given = run(graph)
    assert list(given) == ["first", "same", "second"]
    np.testing.assert_array_equal(given["first"], IMAGES)
    np.testing.assert_array_equal(given["same"], given["second"])


@pytest.mark.parametrize("batch", [None, 3])
def test_a_graph_def_of_any_batch_or_one(batch):
    definition = small().graph_def(batch=batch)
    (image,) = [node for node in definition.node if node.op == "Placeholder"]
    assert [side.size for side in image.attr["shape"].shape.dim] == [batch or -1, *SHAPE]
