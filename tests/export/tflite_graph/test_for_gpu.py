"""Each rewrite leaves a file's outputs as they are, and nothing of what it is for."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.edge import gpu
from keras_vit.export.tflite_graph import for_gpu
from keras_vit.export.tflite_graph.graph import Graph
from tests.export.tflite_graph.files import convert, outputs

SHAPE = (1, 4, 6, 8)
draw = np.random.default_rng(0)
TOKEN = draw.normal(size=(1, 1, 8)).astype("float32")
MATRIX = draw.normal(size=(3, 24)).astype("float32")


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (2, *SHAPE[1:])).astype("uint8")


def tokens(x):
    """(1, 4, 6, 8) -> (1, 24, 8), small."""
    return tf.reshape(x / 255, (1, 24, 8))


def of_splits(x):
    first, second = tf.split(tokens(x), 2, -1)
    return first * second


def of_splits_of_rows(x):
    first, second = tf.split(tf.reshape(x / 255, (24, 8)), 2, -1)
    return first * tf.sigmoid(second)


def padded(x):
    return tf.pad(tokens(x), [(0, 0), (1, 0), (0, 2)])


def transposed(x):
    return tf.matmul(tokens(x), tf.nn.relu(tokens(x) - 0.5), transpose_b=True)


FUNCTIONS = {
    "SPLIT": of_splits,
    "SPLIT of rows": of_splits_of_rows,
    "CONCATENATION": lambda x: tf.concat([TOKEN, tokens(x)], 1),
    "PAD": padded,
    "BATCH_MATMUL transposed": transposed,
    "BATCH_MATMUL of a constant": lambda x: tf.matmul(MATRIX, tokens(x)),
    "ADD": lambda x: tokens(x) + tf.reshape(tf.nn.relu(x / 255 - 0.5), (24, 8)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_was_refused_is_taken(name, images, tmp_path):
    content = convert(lambda x: tf.reshape(FUNCTIONS[name](x), (1, -1)), SHAPE)
    refused = gpu.refusals(content)
    assert name.partition(" ")[0] in {one.operator for one in refused}
    graph = Graph(content)
    for_gpu.rewrite(graph)
    assert gpu.refusals(graph.content()) == []
    np.testing.assert_allclose(
        outputs(graph.content(), images, tmp_path), outputs(content, images, tmp_path), rtol=1e-5, atol=1e-5
    )


def test_a_transformer_is_taken(vit_file, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    assert {"FULLY_CONNECTED", "CONCATENATION", "SPLIT", "ADD"} <= {one.operator for one in gpu.refusals(vit_file)}
    graph = Graph(vit_file)
    for_gpu.rewrite(graph)
    assert gpu.refusals(graph.content()) == []
    np.testing.assert_allclose(
        outputs(graph.content(), images, tmp_path), outputs(vit_file, images, tmp_path), rtol=1e-5, atol=1e-6
    )


def test_reshapes_are_merged(vit_file):
    """A dense layer, its GELU and the dense layer behind it have none between them; the rewrites bring few."""
    graph = Graph(vit_file)
    before = len(graph.of_kinds(("RESHAPE",)))
    for_gpu.rewrite(graph)
    for operator in graph.of_kinds(("GELU",)):
        beside = (graph.producer(int(operator.inputs[0])), graph.consumers(int(operator.outputs[0]))[0][0])
        assert [graph.kind(one) for one in beside] == ["FULLY_CONNECTED"] * 2
    assert len(graph.of_kinds(("RESHAPE",))) <= before + 2


def test_a_file_that_fits_stays(images):
    content = convert(lambda x: tf.reshape(tf.nn.relu(x - 3.0), (1, -1)), SHAPE)
    graph = Graph(content)
    kinds = [graph.kind(operator) for operator in graph.operators]
    for_gpu.rewrite(graph)
    assert [graph.kind(operator) for operator in graph.operators] == kinds
