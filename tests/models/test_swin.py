"""Swin's windows, shifts, masks and merging against loops; its epsilons and refusals."""

import itertools

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.models import swin
from keras_vit.system.keras_private import all_layers


@pytest.mark.parametrize("window", [(7, 7), (2, 3)])
def test_relative_position_index(window):
    M, L = window
    index = swin.relative_position_index(window)
    pixels = list(itertools.product(range(M), range(L)))
    for (i, a), (j, b) in itertools.product(enumerate(pixels), repeat=2):
        assert index[i, j] == (a[0] - b[0] + M - 1) * (2 * L - 1) + a[1] - b[1] + L - 1


def test_relative_position_index_of_the_published_windows():
    index = swin.relative_position_index((7, 7))
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
    mask = swin.shift_mask(H, W, window, shift)
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
    assert swin.windows_and_shift(grid, 7, shifted) == (window, shift)


def test_window_attention_is_softmax_of_scores_and_bias():
    layer = swin.WindowAttention(num_heads=2, window_size=(2, 3))
    x = np.random.default_rng(0).standard_normal((4, 6, 8)).astype("float32")
    mask = np.where(np.random.default_rng(1).random((2, 6, 6)) < 0.3, -100, 0).astype("float32")
    out = np.asarray(layer(x, mask))
    table = np.asarray(layer.bias_table).reshape(-1, 2)
    projected = x @ np.asarray(layer.qkv.kernel) + np.asarray(layer.qkv.bias)
    heads = []
    for h in range(2):
        q, k, v = (projected[..., part * 8 + h * 4 : part * 8 + h * 4 + 4] for part in range(3))
        scores = (
            q @ k.transpose(0, 2, 1) / 2 + table[swin.relative_position_index((2, 3)), h] + np.tile(mask, (2, 1, 1))
        )
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        heads.append(weights / weights.sum(-1, keepdims=True) @ v)
    np.testing.assert_allclose(out, np.concatenate(heads, -1) @ np.asarray(layer.proj.kernel), atol=1e-6)


def test_patch_merging_takes_neighbours_column_by_column():
    layer = swin.PatchMerging()
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype("float32")
    layer.build(x.shape)
    layer.reduction.kernel.assign(np.eye(16, 8))
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    neighbours = [padded[:, 0::2, 0::2], padded[:, 1::2, 0::2], padded[:, 0::2, 1::2], padded[:, 1::2, 1::2]]
    merged = np.concatenate(neighbours, axis=-1)
    centred = merged - merged.mean(-1, keepdims=True)
    normed = centred / np.sqrt(merged.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer(x), normed[..., :8], atol=1e-5)


def test_a_block_without_shift_treats_windows_alone():
    block = swin.SwinBlock(2, (2, 2))
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 8)).astype("float32")
    block.build(x.shape)
    for kernel in (block.attn.qkv.kernel, block.attn.proj.kernel):
        kernel.assign(kernel * 20)
    before = np.asarray(block(x))
    x[0, 3, 3, 0] += 1
    changed = np.abs(np.asarray(block(x)) - before).max(axis=(0, 3)) > 1e-6
    assert changed[2:, 2:].all() and not changed[:2].any() and not changed[:, :2].any()


def test_epsilons_are_the_published_ones():
    model = swin.SwinT(weights=None, input_shape=(32, 32, 3))
    norms = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.LayerNormalization)]
    assert len(norms) == 1 + 12 * 2 + 3 + 1 and {norm.epsilon for norm in norms} == {1e-5}


def test_sizes_that_swin_cannot_run():
    with pytest.raises(ValueError, match="multiples of 4.*Received: 225 x 224"):
        swin.SwinT(weights=None, input_shape=(225, 224, 3))


def test_stage_maps_halve():
    pyramid = keras_vit.feature_pyramid(swin.SwinT(weights=None, input_shape=(64, 96, 3), include_top=False))
    shapes = {level: tuple(x.shape[1:]) for level, x in pyramid.pyramid_outputs.items()}
    assert shapes == {"P2": (16, 24, 96), "P3": (8, 12, 192), "P4": (4, 6, 384), "P5": (2, 3, 768)}
