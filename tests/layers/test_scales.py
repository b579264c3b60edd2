"""Interpolation between grids of tokens: PyTorch's plain bilinear resize, pixel by pixel."""

import math

import numpy as np
import pytest
from keras import ops

from keras_vit.layers.scales import downsample, interpolate


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def array(x):
    return ops.convert_to_numpy(x)


def brute_bilinear(x, height, width):
    """(H, W, C): each new pixel from the four around its centre, repeated at the border; nothing is averaged first."""
    H, W, C = x.shape
    out = np.zeros((height, width, C))
    for i, j in np.ndindex(height, width):
        y = max((i + 0.5) * H / height - 0.5, 0)
        z = max((j + 0.5) * W / width - 0.5, 0)
        up, left = int(y), int(z)
        down, right, a, b = min(up + 1, H - 1), min(left + 1, W - 1), y - up, z - left
        upper = (1 - b) * x[up, left] + b * x[up, right]
        out[i, j] = (1 - a) * upper + a * ((1 - b) * x[down, left] + b * x[down, right])
    return out


@pytest.mark.parametrize("old, new", [
    ((4, 12), (8, 24)), ((3, 5), (12, 20)), ((1, 2), (4, 8)), ((8, 12), (4, 6)), ((8, 12), (2, 3)), ((4, 4), (1, 1)),
])  # fmt: skip
def test_interpolation_against_brute_force(old, new):
    x = normal(2, 1 + old[0] * old[1], 3)
    found = array(interpolate(x, old, round(math.log2(old[0] / new[0]))))
    expected = [brute_bilinear(image, *new) for image in x[:, 1:].reshape(2, *old, 3)]
    np.testing.assert_array_equal(found[:, 0], x[:, 0])
    np.testing.assert_allclose(found[:, 1:], np.reshape(expected, (2, -1, 3)), atol=1e-6)


def test_a_fourth_reads_the_centre_of_each_cell():
    x = np.zeros((1, 8, 4, 1), "float32")
    x[0, 1:3, 1:3] = [[[1], [2]], [[3], [6]]]
    x[0, 0, 0] = x[0, 3, 3] = x[0, 4] = 100  # corners and edges of cells
    np.testing.assert_array_equal(array(downsample(x, 4)), [[[[3]], [[0]]]])
