"""Sizes are numbers where they are known, and channels stay known where they are not."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.layers.sizes import are_known, cut_map, derived, equal, halved, pad_map, sizes

X = np.arange(2 * 3 * 5 * 2, dtype="float32").reshape(2, 3, 5, 2)


def in_a_graph_of_unknown_size(function):
    """What a function of a map gives there, and the static shape that it leaves."""
    left = []

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 2])], autograph=False)
    def run(x):
        out = function(x)
        left.append(out.shape.as_list())
        return out

    return run(X), left[0]


def test_sizes_are_numbers_or_tensors():
    assert sizes(X) == (3, 5, 2) and are_known(sizes(X))
    out, _ = in_a_graph_of_unknown_size(lambda x: tf.stack(sizes(x)))
    assert out.numpy().tolist() == [3, 5, 2]
    assert not are_known((3, tf.constant(5)))


def test_only_known_sizes_are_equal():
    assert equal([3, 5], (3, 5)) and not equal((3, 5), (5, 3)) and not equal((3, tf.constant(5)), (3, 5))


def test_a_size_of_a_shape_that_is_not_known_stays_so():
    assert derived(lambda a, b: a * b, 2, 3) == 6 and derived(lambda a, b: a * b, 2, None) is None
    assert (halved(5), halved(4), halved(None)) == (3, 2, None)


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x: pad_map(x, (1, 0), (0, 2)), np.pad(X, ((0, 0), (1, 0), (0, 2), (0, 0)))),
        (lambda x: cut_map(x, (1, 2), (0, 4)), X[:, 1:3, :4]),
        (lambda x: cut_map(x, (0, 3), (2, 2), 1), X[:, :, 2:4, :1]),
    ],
)
def test_maps_are_padded_and_cut_alike_whether_their_size_is_known_or_not(function, expected):
    np.testing.assert_array_equal(function(tf.constant(X)), expected)
    out, shape = in_a_graph_of_unknown_size(function)
    np.testing.assert_array_equal(out, expected)
    assert shape[-1] == expected.shape[-1]
