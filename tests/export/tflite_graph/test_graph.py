import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.tflite_graph.graph import Graph
from tests.export.tflite_graph.files import convert, outputs

WEIGHTS = np.arange(12, dtype="float32").reshape(4, 3) - 5
X = np.array([[1.0, 2, -3, 4]], "float32")


@pytest.fixture
def graph():
    return Graph(convert(lambda x: tf.matmul(tf.sigmoid(x), WEIGHTS) + tf.matmul(x, WEIGHTS), (1, 4)))


def logistic(x):
    return 1 / (1 + np.exp(-x))


def test_a_graph_that_was_not_changed_computes_the_same(graph, tmp_path):
    expected = (logistic(X) + X) @ WEIGHTS
    np.testing.assert_allclose(outputs(graph.content(), X, tmp_path), expected, rtol=1e-5)


def test_a_constant_is_changed_for_one_operator_alone(graph, tmp_path):
    plain, other = graph.of_kinds(("FULLY_CONNECTED",))
    if graph.producer(int(plain.inputs[0])) is not None:
        plain, other = other, plain
    graph.give(other, 1, int(plain.inputs[1]))  # they share the weights
    graph.set_constant(other, 1, np.zeros((3, 4)))
    np.testing.assert_allclose(outputs(graph.content(), X, tmp_path), X @ WEIGHTS, rtol=1e-5)
    np.testing.assert_array_equal(graph.constant(int(plain.inputs[1])), WEIGHTS.T)


def test_constants_that_nothing_takes_are_not_in_the_file(graph):
    before = len(graph.content())
    *_, last = graph.of_kinds(("FULLY_CONNECTED",))
    number = graph.add_constant("large", np.zeros(10_000))
    assert len(graph.content()) < before + 1000
    graph.give(last, 1, number)
    assert len(graph.content()) > before + 40_000


def test_a_factor_behind_a_tensor_reaches_all_that_takes_it(tmp_path):
    graph = Graph(convert(lambda x: (y := tf.nn.gelu(x)) * tf.nn.relu(y), (1, 4)))
    (gelu,) = graph.of_kinds(("GELU",))
    x, factor = np.array([[1.0, 2, -3, 4]], "float32"), np.array([1, 2, 3, 4], "float32")
    before = outputs(graph.content(), x, tmp_path)
    graph.multiply_behind(int(gelu.outputs[0]), factor)
    np.testing.assert_allclose(outputs(graph.content(), x, tmp_path), before * factor**2, rtol=1e-5)


def test_the_factor_behind_the_last_tensor_is_in_the_output(tmp_path):
    graph = Graph(convert(tf.nn.relu, (1, 2)))
    (relu,) = graph.operators
    graph.multiply_behind(int(relu.outputs[0]), np.array([2, 3], "float32"))
    np.testing.assert_allclose(outputs(graph.content(), np.ones((1, 2)), tmp_path), [[2, 3]])


def test_names_of_tensors_are_unique(graph):
    one, other = graph.of_kinds(("FULLY_CONNECTED",))
    graph.give(other, 1, int(one.inputs[1]))
    for operator in (one, other):
        graph.set_constant(operator, 1, np.zeros((3, 4)))
    names = [tensor.name for tensor in graph.main.tensors]
    assert len(set(names)) == len(names)


def test_an_operator_is_removed(graph, tmp_path):
    (sigmoid,) = graph.of_kinds(("LOGISTIC",))
    graph.remove(sigmoid)
    np.testing.assert_allclose(outputs(graph.content(), X, tmp_path), 2 * X @ WEIGHTS, rtol=1e-5)


def test_further_outputs_and_inputs(graph, tmp_path):
    first, _ = graph.of_kinds(("FULLY_CONNECTED",))
    tensor = int(first.outputs[0])
    assert len(Graph(graph.content([tensor])).main.outputs) == 2 and len(graph.main.outputs) == 1
    added = graph.add_input_behind(tensor)
    assert graph.shape(added) == (1, 3) and list(Graph(graph.content()).main.inputs)[1:] == [added]
