"""Grids resampled in a graph against the numpy of loading, which is tested against PyTorch's numbers."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.layers.resampling import resample, resample_line
from keras_vit.weights.resample import interpolation_matrix, resample_grid

GRID = np.random.default_rng(0).standard_normal((5, 7, 3)).astype("float32")
RULES = [("bicubic", True, 0.0), ("bicubic", False, 0.0), ("bicubic", False, 0.1), ("bilinear", False, 0.0)]


def in_a_graph(function, *sizes):
    """With sizes that the graph does not know."""
    return tf.function(function, autograph=False)(*map(tf.constant, sizes)).numpy()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("new", [(9, 4), (1, 12), (5, 8), (3, 7)])
def test_a_grid_is_resampled_as_in_loading(rule, new):
    expected = resample_grid(GRID, new, *rule)
    np.testing.assert_allclose(resample(tf.constant(GRID), new, *rule), expected, atol=1e-5)
    found = in_a_graph(lambda h, w: resample(tf.constant(GRID), (h, w), *rule), *new)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_a_grid_of_the_same_size_stays_as_it_is(rule):
    found = in_a_graph(lambda h, w: resample(tf.constant(GRID), (h, w), *rule), 5, 7)
    np.testing.assert_array_equal(found, GRID)


@pytest.mark.parametrize("new", [3, 11])
def test_a_line_is_resampled_as_in_loading(new):
    expected = interpolation_matrix(5, new) @ GRID[:, 0]
    np.testing.assert_allclose(resample_line(tf.constant(GRID[:, 0]), new), expected, atol=1e-5)
    found = in_a_graph(lambda n: resample_line(tf.constant(GRID[:, 0]), n), new)
    np.testing.assert_allclose(found, expected, atol=1e-5)
