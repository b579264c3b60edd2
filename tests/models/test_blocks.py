"""Structure by the names of layers: blocks, stages and grids."""

import keras
import pytest

from keras_vit.models.blocks import Block, block_of, blocks, patch_grid, require_blocks, stage_of
from tests.models.toys import TOYS


def toy(name):
    variant, shape = TOYS[name]
    return variant(weights=None, input_shape=shape, classes=5)


@pytest.mark.parametrize(
    "name, block, stage",
    [
        ("block11", Block("block11", None, 11), None),
        ("stage2_block5", Block("stage2_block5", 2, 5), 2),
        ("stage2_block5_qkv", Block("stage2_block5", 2, 5), 2),
        ("parallel3", Block("parallel3", None, 3, parallel=True), None),
        ("stage1_parallel3_qkv", Block("parallel3", None, 3, parallel=True), 1),
        ("stage3_norm", None, 3),
        ("merge1", None, None),
        ("blocks", None, None),
    ],
)
def test_block_and_stage_of_a_layer(name, block, stage):
    assert block_of(name) == block and stage_of(name) == stage


def test_groups():
    names = ("block3", "stage2_block0", "parallel1")
    assert [block_of(name).group for name in names] == ["blocks", "stage2", "parallel blocks"]


@pytest.mark.parametrize("name", TOYS)
def test_every_toy_has_the_blocks_of_its_config(name):
    config = getattr(TOYS[name][0].config, "encoder", TOYS[name][0].config)  # of hybrids, the ResNet is stem
    depths = getattr(config, "depths", None) or (config.depth,)
    found = blocks(toy(name))
    assert sum(not block.parallel for block in found) == sum(depths)
    assert sum(block.parallel for block in found) == getattr(config, "parallel_depth", 0)
    assert {block.stage or 0 for block in found} == set(range(len(depths))) or name == "t2t_dense"  # one resolution


def test_blocks_in_the_order_of_the_model():
    names = [block.name for block in blocks(toy("coat"))]
    assert names == [*(f"stage{s}_block0" for s in range(4)), "parallel0", "parallel1"]


def test_grids_of_patches():
    assert patch_grid(toy("coat"), 2) == (4, 6)
    assert patch_grid(toy("vit")) == patch_grid(toy("vit"), 0) == (5, 6)


def test_what_has_no_blocks_is_refused():
    with pytest.raises(ValueError, match="relevance: expected a model of keras_vit.models"):
        require_blocks("relevance", keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]))
    with pytest.raises(ValueError, match="Received: 'SwinT'"):
        require_blocks("relevance", "SwinT")
