"""Swin's windows, shifts, masks and merging against loops; its epsilons and refusals."""

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.models import swin
from keras_vit.system.keras_private import all_layers


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
