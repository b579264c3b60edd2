"""The soft split against the definition of unfolding."""

import numpy as np
import pytest

from keras_vit.layers.soft_split import SoftSplit, soft_split

SPLITS = pytest.mark.parametrize("kernel, stride, padding", [(7, 4, 2), (3, 2, 1)])


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def unfold(x, k, s, p):
    """Window by window, as the definition has it."""
    x = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
    rows, columns = (range(0, side - k + 1, s) for side in x.shape[1:3])
    windows = [[x[:, i : i + k, j : j + k].reshape(len(x), -1) for j in columns] for i in rows]
    return np.stack([np.stack(row, axis=1) for row in windows], axis=1)


@SPLITS
@pytest.mark.parametrize("size", [(16, 24), (17, 18), (19, 23), (7, 9)])
def test_soft_split_is_unfolding(kernel, stride, padding, size):
    x = random(2, *size, 3)
    expected = unfold(x, kernel, stride, padding)
    np.testing.assert_array_equal(soft_split(x, kernel, stride, padding), expected)
    layer = SoftSplit(kernel, stride, padding)
    assert layer.compute_output_shape(x.shape) == expected.shape
