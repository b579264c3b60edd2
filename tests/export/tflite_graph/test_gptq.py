import numpy as np
import pytest

from keras_vit.export.tflite_graph import gptq
from keras_vit.export.tflite_graph.graph import Graph


@pytest.fixture
def layer():
    """(weights, inputs whose channels depend on each other)."""
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(400, 6)) @ draw.normal(size=(6, 40)) + 0.1 * draw.normal(size=(400, 40))
    return draw.normal(size=(16, 40)).astype("float32"), inputs


def nearest(weights):
    scale = np.abs(weights).max(1, keepdims=True) / 127
    return np.rint(weights / scale) * scale


def test_weights_are_on_the_grid_of_their_own_largest(layer):
    weights, inputs = layer
    rounded = gptq.round_weights(weights, inputs.T @ inputs)
    np.testing.assert_allclose(np.abs(rounded).max(1), np.abs(weights).max(1), rtol=1e-6)
    np.testing.assert_allclose(nearest(rounded), rounded, rtol=1e-5)  # rounding again changes nothing


def test_outputs_lose_less_than_with_the_nearest_weights(layer):
    weights, inputs = layer
    error = {
        name: np.square(inputs @ (given - weights).T).sum()
        for name, given in (("gptq", gptq.round_weights(weights, inputs.T @ inputs)), ("nearest", nearest(weights)))
    }
    assert error["gptq"] < 0.3 * error["nearest"]


def test_of_independent_inputs_the_nearest_weights_are_best(layer):
    weights, _ = layer
    np.testing.assert_allclose(gptq.round_weights(weights, np.eye(40)), nearest(weights), atol=1e-6)


def test_channels_that_are_never_seen_and_rows_of_zeros(layer):
    weights, inputs = layer
    inputs[:, 3], weights[2] = 0, 0
    rounded = gptq.round_weights(weights, inputs.T @ inputs)
    assert np.isfinite(rounded).all() and not rounded[2].any()


def test_layers_of_a_file_keep_their_weights_and_patches_are_matrices(vit_file, images, tmp_path):
    graph = Graph(vit_file)
    before = {graph.name(int(one.outputs[0])): graph.constant(int(one.inputs[1])) for one in graph.weighted()}
    found = gptq.fitted(graph, images, tmp_path)
    assert set(found) == set(before)  # the convolution of the patches, too
    for name, (operator, number) in found.items():
        np.testing.assert_array_equal(graph.constant(int(operator.inputs[1])), before[name])
        step = np.abs(before[name]).reshape(len(before[name]), -1).max(1) / 127
        away = np.abs(graph.constant(number) - before[name]).reshape(len(step), -1).max(1)
        assert 0 < away.max() and graph.constant(number).shape == before[name].shape
        assert np.median(np.abs(graph.constant(number) - before[name])) < step.max()
