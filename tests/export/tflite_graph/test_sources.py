import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.tflite_graph.graph import Graph
from keras_vit.export.tflite_graph.sources import denses, normalisations, pads
from tests.export.tflite_graph.conftest import DEPTH, WIDTH
from tests.export.tflite_graph.files import convert, outputs


def test_all_normalisations_and_layers_of_a_vit_are_found(vit_file):
    graph = Graph(vit_file)
    assert len(list(normalisations(graph))) == 2 * DEPTH + 1
    assert len(list(denses(graph))) == 1 + 4 * DEPTH + 1


@pytest.mark.parametrize("number", [0, -1])
def test_a_normalisation_gives_its_numbers_in_other_units(vit_file, images, tmp_path, number):
    factor = np.random.default_rng(2).uniform(0.5, 2, WIDTH).astype("float32")
    offset = np.random.default_rng(3).normal(size=WIDTH).astype("float32")

    def observed(change):
        graph = Graph(vit_file)
        one = list(normalisations(graph))[number]
        if change:
            one.change(graph, factor, offset)
        graph.main.outputs = np.array([one.output], "int32")
        graph.model.signatureDefs = []
        return outputs(graph.content(), images[:1], tmp_path)

    np.testing.assert_allclose(observed(True), (observed(False) - offset) * factor, atol=1e-5)


def test_a_layer_with_an_activation_of_its_own_is_no_source():
    graph = Graph(convert(lambda x: tf.nn.relu(tf.matmul(x, np.ones((3, 2), "float32")) + [1.0, 2.0]), (1, 3)))
    assert not list(denses(graph))


@pytest.mark.parametrize("padding, stride, expected", [("VALID", 4, False), ("SAME", 4, False), ("SAME", 2, True)])
def test_convolutions_that_see_beyond_their_input(padding, stride, expected):
    kernel = np.ones((4, 4, 3, 5), "float32")
    graph = Graph(convert(lambda x: tf.nn.conv2d(x, kernel, stride, padding), (1, 8, 8, 3)))
    assert pads(graph, graph.weighted()[0]) == expected
