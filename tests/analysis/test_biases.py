"""Swin's bias tables, by the offsets that they stand for."""

import numpy as np
import pytest

from keras_vit.analysis import relative_position_biases
from tests.models.toys import TOYS


def test_tables_are_by_block_and_by_offset_of_the_key():
    variant, shape = TOYS["swin"]
    model = variant(weights=None, input_shape=shape)
    biases = relative_position_biases(model)
    assert {name: table.shape for name, table in biases.items()} == {
        **{f"stage0_block{b}": (3, 5, 5) for b in (0, 1)},
        **{f"stage1_block{b}": (6, 5, 5) for b in (0, 1)},
    }
    M = 3
    for name, table in biases.items():
        added = model.get_layer(name).attn.position_bias((M, M)).numpy()[0].reshape(-1, M, M, M, M)  # h, query, key
        for (i, j), (k, l) in (((0, 0), (2, 1)), ((1, 1), (1, 1)), ((2, 0), (0, 2))):
            np.testing.assert_array_equal(table[:, M - 1 + k - i, M - 1 + l - j], added[:, i, j, k, l])


@pytest.mark.parametrize("name", ["vit", "convnext", "coat_lite"])
def test_other_models_are_refused(name):
    variant, shape = TOYS[name]
    with pytest.raises(ValueError, match="expected a Swin Transformer"):
        relative_position_biases(variant(weights=None, input_shape=shape))
