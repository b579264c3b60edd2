"""Resampling against algebra and PIL; tests/models/test_parity.py compares with the reference loaders."""

import numpy as np
import pytest
from PIL import Image

from keras_vit.system.limits import MAX_GRID
from keras_vit.weights import resample

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("old, new", [(14, 14), (14, 24), (24, 14), (7, 3), (5, 6)])
def test_rows_sum_to_one_and_same_size_is_identity(kernel, antialias, old, new):
    matrix = resample.interpolation_matrix(old, new, kernel, antialias)
    assert matrix.shape == (new, old)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    if old == new:
        np.testing.assert_allclose(matrix, np.eye(old), atol=1e-12)


@pytest.mark.parametrize("kernel, pil", [("bicubic", Image.BICUBIC), ("bilinear", Image.BILINEAR)])
@pytest.mark.parametrize("new", [(9, 21), (24, 5)])
def test_antialiased_equals_pil_in_float(kernel, pil, new):
    grid = RNG.uniform(0, 255, (14, 12, 1))
    image = Image.fromarray(grid[..., 0].astype("float32"))
    expected = np.asarray(image.resize((new[1], new[0]), pil))
    np.testing.assert_allclose(resample.resample_grid(grid, new, kernel)[..., 0], expected, atol=2e-4)


def test_linear_without_antialias_repeats_the_border():
    line = np.array([0.0, 10.0, 20.0])
    stretched = resample.interpolation_matrix(3, 6, "bilinear", antialias=False) @ line
    np.testing.assert_allclose(stretched, [0, 2.5, 7.5, 12.5, 17.5, 20])
    every_other = resample.interpolation_matrix(6, 3, "bilinear", antialias=False) @ np.arange(6.0)
    np.testing.assert_allclose(every_other, [0.5, 2.5, 4.5])


def test_an_offset_shortens_the_step_as_in_the_official_code_of_dino():
    offset = resample.interpolation_matrix(5, 4, antialias=False, offset=0.1)
    places = (np.arange(4) + 0.5) * 5 / 4.1 - 0.5  # the first at 0.11, the last at 3.77: the grid is not centred
    first = np.floor(places).astype(int)
    for row, place, start in zip(offset, places, first):
        taps = np.arange(start - 1, start + 3)
        expected = np.zeros(5)
        np.add.at(expected, taps.clip(0, 4), resample.cubic(place - taps, -0.75))
        np.testing.assert_allclose(row, expected, atol=1e-12)
    assert np.abs(offset - resample.interpolation_matrix(5, 4, antialias=False)).max() > 0.02


def test_positions_keep_the_prefix_and_follow_the_aspect_ratio():
    table = RNG.standard_normal((1, 2 + 16, 3))
    moved = resample.positions(2)(table, (1, 2 + 6 * 3, 3), (96, 48))
    np.testing.assert_array_equal(moved[:, :2], table[:, :2])
    expected = resample.resample_grid(table[0, 2:].reshape(4, 4, 3), (6, 3))
    np.testing.assert_allclose(moved[0, 2:].reshape(6, 3, 3), expected)


def test_a_stored_grid_of_known_proportions_need_not_be_square():
    table = RNG.standard_normal((1, 1 + 4 * 9, 3))  # 36 would be a square, too
    moved = resample.positions(1)(table, (1, 1 + 5 * 5, 3), (40, 40), (32, 72))
    expected = resample.resample_grid(table[0, 1:].reshape(4, 9, 3), (5, 5))
    np.testing.assert_allclose(moved[0, 1:].reshape(5, 5, 3), expected)


def test_tables_without_a_grid_are_returned_unchanged():
    table = RNG.standard_normal((1, 1 + 15, 3))
    assert resample.positions(1)(table, (1, 17, 3), (64, 64)) is table


def test_relative_position_bias_keeps_its_centre_and_its_symmetry():
    table = RNG.standard_normal((13, 13, 2))
    table = table + table[::-1, ::-1]
    moved = resample.relative_position_bias(table, (23, 9, 2), (384, 160))
    assert moved.shape == (23, 9, 2)
    np.testing.assert_allclose(moved[11, 4], table[6, 6])
    np.testing.assert_allclose(moved, moved[::-1, ::-1], atol=1e-12)


def test_relative_position_bias_spreads_geometrically():
    """Of the stored offsets 0 ... 6, 0 and 1 stay where they are, 6 moves to 11, and the spacing grows in between."""
    line = np.arange(-6.0, 7.0)
    moved = resample.relative_position_bias(line.reshape(13, 1, 1), (23, 1, 1), (0, 0)).ravel()[11:]
    assert moved[0] == 0 and moved[1] == 1 and abs(moved[11] - 6) < 1e-3
    steps = np.diff(moved)
    assert (steps > 0).all() and (np.diff(steps) < 1e-9).all() and steps[-1] < 0.5


def test_input_channels():
    kernel = RNG.standard_normal((4, 4, 3, 5))
    grey = resample.input_channels(kernel, (4, 4, 1, 5), (8, 8))
    np.testing.assert_allclose(grey[:, :, 0], kernel.sum(axis=2))
    seven = resample.input_channels(kernel, (4, 4, 7, 5), (8, 8))
    np.testing.assert_allclose(seven[:, :, 6], kernel[:, :, 0] * 3 / 7)
    np.testing.assert_allclose(seven[:, :, 4], kernel[:, :, 1] * 3 / 7)


MISFITS = {
    "no row": np.zeros((1, 0, 3)),
    "fewer rows than the prefix": np.zeros((1, 1, 3)),
    "two tables": np.zeros((2, 5, 3)),
    "no table": np.zeros((0, 5, 3)),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_positions_that_are_no_grid_are_returned_unchanged(kind):
    table = MISFITS[kind]
    assert resample.positions(1)(table, (1, 17, 3), (64, 64)) is table


@pytest.mark.parametrize("size", [(0, 0), (2, 2), (3, 2), (0, 3)])
def test_bias_tables_without_a_centre_are_returned_unchanged(size):
    table = np.zeros((*size, 2))
    assert resample.relative_position_bias(table, (5, 5, 2), (0, 0)) is table


@pytest.mark.parametrize("shape", [(4, 4, 0, 5), (3, 4, 3, 5), (0, 0, 3, 5)])
def test_other_convolutions_are_returned_unchanged(shape):
    kernel = np.zeros(shape)
    assert resample.input_channels(kernel, (4, 4, 1, 5), (8, 8)) is kernel


@pytest.mark.parametrize("side", [0, MAX_GRID + 1])
def test_the_sides_of_a_grid_are_bounded(side):
    with pytest.raises(ValueError, match=f"MAX_GRID.*Received: {side}"):
        resample.interpolation_matrix(side, 4)
    if side:
        with pytest.raises(ValueError, match="MAX_GRID"):
            resample.relative_position_bias(np.zeros((side + side % 2 + 1, 3, 1)), (5, 5, 1), (0, 0))
