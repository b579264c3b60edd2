"""Heads are runs of channels, all of one width."""

import types

import numpy as np
import pytest

from keras_vit.layers.heads import check_heads, merge_heads, split_heads


def test_splitting_and_merging_heads_are_inverse():
    x = np.random.default_rng(0).standard_normal((2, 5, 12)).astype("float32")
    split = split_heads(x, 3)
    np.testing.assert_array_equal(split[1, 2, 4], x[1, 4, 8:])
    np.testing.assert_array_equal(merge_heads(split), x)


def test_heads_must_divide_the_channels():
    layer = types.SimpleNamespace(name="attn", num_heads=3)
    check_heads(layer, 12)
    with pytest.raises(ValueError, match="attn: num_heads must divide the 10 channels. Received: num_heads=3"):
        check_heads(layer, 10)
