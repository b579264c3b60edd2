import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.tflite_graph import passes
from keras_vit.export.tflite_graph.graph import WEIGHTED, Graph
from keras_vit.export.tflite_graph.ranges import measure, with_margins
from keras_vit.export.tflite_graph.sources import denses, normalisations
from tests.export.tflite_graph.files import convert, outputs


@pytest.fixture
def rewritten(vit_file, images, tmp_path):
    """(graph, its ranges) of the small ViT."""
    graph = Graph(vit_file)
    return graph, measure(graph, WEIGHTED, images, tmp_path)


def same(graph, vit_file, images, tmp_path):
    given, expected = (outputs(content, images, tmp_path) for content in (graph.content(), vit_file))
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_pixels_go_into_the_patches(vit_file, images, tmp_path):
    graph = Graph(vit_file)
    passes.pixels_into_patches(graph)
    assert graph.kind(graph.operators[0]) == "CONV_2D" and int(graph.operators[0].inputs[0]) == graph.main.inputs[0]
    same(graph, vit_file, images, tmp_path)


def test_a_convolution_that_pads_is_left_alone():
    kernel = np.ones((3, 3, 3, 4), "float32")
    graph = Graph(convert(lambda x: tf.nn.conv2d((x - 2) * 3, kernel, 1, "SAME") + np.ones(4), (1, 8, 8, 3)))
    before = graph.content()
    passes.pixels_into_patches(graph)
    assert graph.content() == before


def test_channels_are_balanced_and_the_ranges_with_them(rewritten, vit_file, images, tmp_path):
    graph, ranges = rewritten
    uneven = [np.ptp(np.log(ranges[one.output].reach())) for one in list(normalisations(graph))[:-1]]
    passes.balance(graph, ranges, normalisations(graph), 1.0)
    passes.balance(graph, ranges, denses(graph), 1.0)
    same(graph, vit_file, images, tmp_path)
    measured = measure(graph, WEIGHTED, images, tmp_path)
    assert set(measured) == set(ranges)
    for tensor, seen in measured.items():
        for ours, theirs in zip(ranges[tensor], seen):
            np.testing.assert_allclose(ours, theirs, atol=1e-4 * max(np.abs(theirs).max(), 1e-3))
    for one, before in zip(list(normalisations(graph))[:-1], uneven):
        seen = measured[one.output]
        np.testing.assert_allclose(seen.middle, 0, atol=1e-3 * seen.reach().max())
        assert np.ptp(np.log(seen.reach())) < 0.01 < before


def test_layers_give_channels_of_equal_range(rewritten, vit_file, images, tmp_path):
    graph, ranges = rewritten
    before, ranges = len(graph.operators), with_margins(graph, ranges)
    uneven = {one.output: ranges[one.output].reach() for one in denses(graph)}
    passes.spread(graph, ranges)
    assert len(graph.operators) > before
    same(graph, vit_file, images, tmp_path)
    for tensor, reach in uneven.items():
        mean = np.square(reach).mean() / np.square(reach.max())
        now = ranges[tensor].reach()
        assert mean >= 1 / passes.WORTH or np.square(now).mean() / np.square(now.max()) > mean


def test_a_layer_right_behind_another_knows_the_range_of_what_it_takes(images, tmp_path):
    draw = np.random.default_rng(0)
    one, other = (
        1e-3 * draw.normal(size=(48, 16)) * 3.0 ** np.arange(16),
        draw.normal(size=(16, 4)) / 3.0 ** np.arange(16)[:, None],
    )
    small = images[:, :4, :4]

    def function(x):
        y = tf.matmul(tf.reshape(x, (1, 48)), one.astype("float32")) + tf.constant([1.0] * 16)
        return tf.matmul(y * 1.0, other.astype("float32")) + tf.constant([1.0] * 4)

    content = convert(function, (1, 4, 4, 3))
    graph = Graph(content)
    ranges = with_margins(graph, measure(graph, WEIGHTED, small, tmp_path))
    passes.spread(graph, ranges)
    assert graph.of_kinds(("MUL",))
    same(graph, content, small, tmp_path)
    assert {int(layer.inputs[0]) for layer in graph.weighted()} <= set(ranges)


def test_factors_that_are_computed_are_left_alone(tmp_path):
    graph = Graph(convert(lambda x: tf.matmul(tf.reshape(x, (4, 12)), tf.reshape(x, (12, 4))), (1, 4, 4, 3)))
    passes.balance(graph, {}, denses(graph), 0.5)
    assert not list(denses(graph))
