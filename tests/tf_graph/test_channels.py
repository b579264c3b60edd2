import numpy as np
import pytest
import tensorflow as tf

from keras_vit.tf_graph.channels import FOREIGN, ZERO, follow
from tests.tf_graph.made import draw, graph_of

BATCH, COUNT = 2, 4  # of the graph's shapes; channels
NUMBERED = np.broadcast_to(np.arange(COUNT, dtype="float32"), (BATCH, 6, 8, COUNT))
MOVES = {  # operators that move numbers, none of which changes their values
    "reshape": lambda x: tf.reshape(x, (-1, 48, 2, 2)),
    "windows": lambda x: tf.transpose(tf.reshape(x, (-1, 2, 3, 2, 4, COUNT)), (0, 1, 3, 2, 4, 5)),
    "split": lambda x: tf.split(x, 2, -1)[1],
    "slice": lambda x: tf.slice(x, (0, 1, 2, 1), (-1, 3, 4, 2)),
    "strided slice": lambda x: x[:, 1:, ::2, :3],
    "ellipsis and new axis": lambda x: x[:, None, ..., 1:],
    "one row": lambda x: x[:, -2],
    "gather": lambda x: tf.gather(x, [2, 0, 3], axis=-1),
    "unstack": lambda x: tf.unstack(x, axis=1)[2],
    "roll": lambda x: tf.roll(x, (1, -2), (1, 3)),
    "mean": lambda x: tf.reduce_mean(x, (1, 2)),
    "mean, axes kept": lambda x: tf.reduce_mean(x, (1, 2), keepdims=True),
    "average pooling": lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"),
    "stack": lambda x: tf.stack([x, x[..., ::-1]], 2),
    "concatenation": lambda x: tf.concat([x[..., 2:], x], -1),
    "transposed": lambda x: tf.transpose(x, (0, 3, 1, 2)),
}


def ends_of(function):
    graph = graph_of(function, shape=NUMBERED.shape[1:])
    source = next(operator for operator in graph.operators if operator.kind == "Exp")
    return graph, follow(graph, source.output)


@pytest.mark.parametrize("move", MOVES)
def test_labels_move_as_the_numbers_do(move):
    """The same operators on tensors whose every number is its channel."""
    _, ends = ends_of(lambda x: tf.nn.relu(MOVES[move](tf.exp(x))))
    (end,) = ends
    assert end.operator.kind == "Relu" and end.sums_to_one
    np.testing.assert_array_equal(end.labels, MOVES[move](NUMBERED))


def test_a_mean_over_channels_is_an_end():
    _, ends = ends_of(lambda x: tf.reduce_mean(tf.exp(x), -1))
    assert [end.operator.kind for end in ends] == ["Mean"]


def test_padding_has_no_channel():
    _, (end,) = ends_of(lambda x: tf.nn.relu(tf.pad(tf.exp(x), ((0, 0), (1, 0), (0, 2), (0, 0)))))
    assert (end.labels[:, 0] == ZERO).all() and (end.labels[:, :, -2:] == ZERO).all() and not end.sums_to_one
    np.testing.assert_array_equal(end.labels[:, 1:, :-2], NUMBERED)


def test_other_tensors_are_foreign():
    _, (end,) = ends_of(lambda x: tf.nn.relu(tf.concat([tf.abs(x)[:, :1], tf.exp(x)], 1)))
    assert (end.labels[:, 0] == FOREIGN).all() and (end.labels[:, 1:] == NUMBERED).all()
    assert end.reached.tolist() == [0, 1, 2, 3]


def test_products_know_the_channel_of_each_input():
    def function(x):
        x = tf.gather(tf.exp(x), [3, 1], axis=-1)
        flat = tf.reshape(x, (-1, 2))
        rows = tf.reshape(x, (-1, 16))
        return {
            **{"a": flat @ draw(2, 5), "b": tf.nn.conv2d(x, draw(2, 2, 2, 3), 1, "SAME")},
            **{"c": tf.nn.depthwise_conv2d(x, draw(2, 2, 2, 1), (1, 1, 1, 1), "SAME"), "d": rows @ draw(16, 2)},
        }

    _, ends = ends_of(function)
    found = sorted((end.operator.kind, end.channels.tolist()) for end in ends)
    assert found == [
        ("Conv2D", [3, 1]),
        ("DepthwiseConv2dNative", [3, 1]),
        ("MatMul", [3, 1]),
        ("MatMul", 8 * [3, 1]),
    ]


def test_an_output_is_an_end_and_so_is_a_product_with_channels_that_differ_from_place_to_place():
    graph, ends = ends_of(lambda x: {"y": tf.exp(x), "z": tf.reshape(tf.exp(x), (-1, 3)) @ draw(3, 2)})
    assert [(end.operator and end.operator.kind, end.channels) for end in ends] == [(None, None), ("MatMul", None)]


def test_attention_mixes_rows_of_its_values():
    def function(x):
        rows = tf.reshape(tf.exp(x), (-1, 48, COUNT))
        scores = tf.nn.softmax(tf.reshape(tf.abs(x), (-1, 4, 48)))
        return tf.nn.relu(tf.matmul(scores, rows))

    _, (end,) = ends_of(function)
    assert (end.labels == np.arange(COUNT)).all()
    assert not end.sums_to_one  # which is only told of constants
