import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.tflite_graph.channels import follow
from keras_vit.export.tflite_graph.graph import Graph
from keras_vit.export.tflite_graph.sources import denses, normalisations
from tests.export.tflite_graph.conftest import DEPTH, WIDTH
from tests.export.tflite_graph.files import convert


def ends_of(function, *shape):
    """(graph, ends of the channels behind the sigmoid) of a function."""
    graph = Graph(convert(lambda x: function(tf.sigmoid(x)), shape))
    (source,) = graph.of_kinds(("LOGISTIC",))
    return graph, follow(graph, int(source.outputs[0]))


def test_normalisations_of_blocks_are_seen_by_the_layer_behind_them(vit_file):
    graph = Graph(vit_file)
    found = list(normalisations(graph))
    assert len(found) == 2 * DEPTH + 1
    for one in found[:-1]:
        (end,) = follow(graph, one.output)
        assert graph.kind(end.operator) == "FULLY_CONNECTED" and end.sums_to_one
        np.testing.assert_array_equal(end.channels, np.arange(WIDTH))


def test_values_reach_the_projection_and_queries_and_keys_do_not(vit_file):
    graph = Graph(vit_file)
    qkv = next(one for one in denses(graph) if graph.shape(one.output)[-1] == 3 * WIDTH)
    ends = follow(graph, qkv.output)
    (projection,) = [end for end in ends if end.channels is not None]
    np.testing.assert_array_equal(projection.channels, 2 * WIDTH + np.arange(WIDTH))
    assert projection.sums_to_one  # through softmax
    seen = np.concatenate([end.reached for end in ends if end.channels is None])
    np.testing.assert_array_equal(np.sort(seen), np.arange(2 * WIDTH))


def test_windows_that_are_rolled_keep_their_channels():
    weights = np.ones((3, 2), "float32")

    def windows(x):
        x = tf.roll(x, (-1, -1), (1, 2))
        x = tf.transpose(tf.reshape(x, (1, 2, 2, 2, 2, 3)), (0, 1, 3, 2, 4, 5))
        return tf.matmul(tf.reshape(x, (-1, 3)), weights)

    _, (end,) = ends_of(windows, 1, 4, 4, 3)
    np.testing.assert_array_equal(end.channels, np.arange(3))
    assert end.sums_to_one


def test_padding_hinders_offsets_and_not_factors():
    _, (end,) = ends_of(
        lambda x: tf.matmul(tf.reshape(tf.pad(x, ((0, 0), (0, 1), (0, 0))), (-1, 3)), np.eye(3)), 1, 4, 3
    )
    np.testing.assert_array_equal(end.channels, np.arange(3))
    assert not end.sums_to_one


def test_a_token_of_another_origin_hinders_both():
    token = np.ones((1, 1, 3), "float32")
    _, (end,) = ends_of(lambda x: tf.matmul(tf.reshape(tf.concat([token, x], 1), (-1, 3)), np.eye(3)), 1, 4, 3)
    assert end.channels is None


def test_four_patches_side_by_side_repeat_the_channels():
    _, (end,) = ends_of(lambda x: tf.matmul(tf.reshape(x, (-1, 12)), np.ones((12, 2), "float32")), 1, 4, 3)
    np.testing.assert_array_equal(end.channels, np.tile(np.arange(3), 4))


def test_averages_over_places_keep_channels_and_sums_over_channels_do_not():
    _, (end,) = ends_of(lambda x: tf.matmul(tf.reduce_mean(x, 1), np.ones((3, 2), "float32")), 1, 4, 3)
    np.testing.assert_array_equal(end.channels, np.arange(3))
    graph, (end,) = ends_of(lambda x: tf.reduce_mean(x, 2), 1, 4, 3)
    assert graph.kind(end.operator) == "MEAN" and end.channels is None
    np.testing.assert_array_equal(end.reached, np.arange(3))


@pytest.mark.parametrize("softmax", [True, False])
def test_only_rows_that_sum_to_one_pass_on_offsets(softmax):
    def mix(x):
        scores = tf.matmul(tf.constant(np.ones((1, 4, 5), "float32")) * x[:, :1, :1], np.ones((1, 5, 4), "float32"))
        return tf.matmul(
            tf.matmul(tf.nn.softmax(scores) if softmax else scores, x[..., 1:]), np.ones((2, 2), "float32")
        )

    graph, ends = ends_of(mix, 1, 4, 3)
    (end,) = [end for end in ends if end.channels is not None]
    np.testing.assert_array_equal(end.channels, [1, 2])
    assert end.sums_to_one == softmax


def test_what_the_file_gives_is_an_end():
    _, (end,) = ends_of(lambda x: tf.reshape(x, (-1,)), 1, 4, 3)
    assert end.operator is None
    np.testing.assert_array_equal(end.reached, np.arange(3))
