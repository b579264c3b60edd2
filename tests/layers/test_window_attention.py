"""Attention inside windows: biases by offset, masks and shifts, against loops."""

import itertools

import numpy as np
import pytest

from keras_vit.layers.window_attention import (
    WindowAttention,
    relative_position_index,
    shift_mask,
    windows_and_shift,
)


@pytest.mark.parametrize("window", [(7, 7), (2, 3)])
def test_relative_position_index(window):
    M, L = window
    index = relative_position_index(window)
    pixels = list(itertools.product(range(M), range(L)))
    for (i, a), (j, b) in itertools.product(enumerate(pixels), repeat=2):
        assert index[i, j] == (a[0] - b[0] + M - 1) * (2 * L - 1) + a[1] - b[1] + L - 1


def test_relative_position_index_of_the_published_windows():
    index = relative_position_index((7, 7))
    assert index[0, :3].tolist() == [84, 83, 82]
    assert (index[0, 48], index[48, 0], index[48, 48]) == (0, 168, 84)


@pytest.mark.parametrize(
    "grid, window, shift", [((6, 9), (3, 3), (1, 1)), ((4, 6), (4, 2), (0, 1)), ((4, 4), (2, 4), (1, 0))]
)
def test_shift_mask_separates_what_was_not_adjacent(grid, window, shift):
    """Two pixels of a window may attend exactly if they lay in one window-sized piece before the cyclic shift."""
    H, W = grid
    rows, columns = np.meshgrid(np.arange(H), np.arange(W), indexing="ij")
    wrapped = (rows + shift[0] >= H) * 2 + (columns + shift[1] >= W)  # which edges a pixel crossed
    mask = shift_mask(H, W, window, shift)
    pieces = [
        wrapped[i : i + window[0], j : j + window[1]].ravel()
        for i in range(0, H, window[0])
        for j in range(0, W, window[1])
    ]
    expected = [np.where(p[:, None] == p[None], 0, -100) for p in pieces]
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    "grid, shifted, window, shift",
    [
        ((56, 56), True, (7, 7), (3, 3)),
        ((56, 56), False, (7, 7), (0, 0)),
        ((7, 9), True, (7, 7), (0, 3)),
        ((5, 7), True, (5, 7), (0, 0)),
    ],
)
def test_windows_and_shift(grid, shifted, window, shift):
    assert windows_and_shift(grid, 7, shifted) == (window, shift)


def test_window_attention_is_softmax_of_scores_and_bias():
    layer = WindowAttention(num_heads=2, window_size=(2, 3))
    x = np.random.default_rng(0).standard_normal((4, 6, 8)).astype("float32")
    mask = np.where(np.random.default_rng(1).random((2, 6, 6)) < 0.3, -100, 0).astype("float32")
    out = np.asarray(layer(x, allowed=mask))
    table = np.asarray(layer.bias_table).reshape(-1, 2)
    projected = x @ np.asarray(layer.qkv.kernel) + np.asarray(layer.qkv.bias)
    heads = []
    for h in range(2):
        q, k, v = (projected[..., part * 8 + h * 4 : part * 8 + h * 4 + 4] for part in range(3))
        scores = q @ k.transpose(0, 2, 1) / 2 + table[relative_position_index((2, 3)), h] + np.tile(mask, (2, 1, 1))
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        heads.append(weights / weights.sum(-1, keepdims=True) @ v)
    np.testing.assert_allclose(out, np.concatenate(heads, -1) @ np.asarray(layer.proj.kernel), atol=1e-6)
