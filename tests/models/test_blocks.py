"""Structure by the names of layers: blocks, stages and grids."""

import keras
import pytest

from keras_vit.models.blocks import (
    Block,
    block_of,
    blocks,
    has_class_token,
    large_image,
    norm_name,
    patch_grid,
    patched_image,
    require_blocks,
    sizes_at,
    stage_of,
)
from tests.models.toys import TOYS


def toy(name, **options):
    variant, shape = TOYS[name]
    return variant(**{"weights": None, "input_shape": shape, "classes": 5, **options})


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


def test_grids_of_patches_in_a_model_of_any_size_are_those_of_the_images():
    model = toy("coat", input_shape=(None, None, 3))
    assert patch_grid(model, 2) == (None, None)
    assert patch_grid(model, 2, image_size=(96, 32)) == (6, 2)
    found = sizes_at(model, {"image": patched_image(model), "blocks": model.get_layer("parallel1").output}, (96, 32))
    assert found == {"image": (1, 96, 32, 3), "blocks": [(1, 1 + n * n // 3, 15) for n in (12, 6, 3)]}


def test_a_padded_image_is_what_the_patches_cover():
    model = toy("vit", input_shape=(None, None, 3), dynamic_img_pad=True)
    assert sizes_at(model, patched_image(model), (33, 47))[1:3] == (40, 48)
    assert patched_image(toy("vit")).shape == (None, 40, 48, 3)


def test_a_large_image_is_one_that_the_model_takes():
    assert large_image(toy("vit")) == (40, 48)
    model = toy("pvt", input_shape=(None, None, 3))
    height, width = large_image(model)
    assert height == width > 1000 and height % 8 == 0
    assert patch_grid(model, 1, (height, width)) == (height // 8, width // 8)


@pytest.mark.parametrize(
    "name, norms, tokens",
    [
        ("vit", {None: "norm"}, {None}),
        ("swin", {0: None, 1: "norm"}, set()),
        ("convnext", {0: None, 1: None}, set()),
        ("pvt", {0: None, 1: "norm"}, {1}),
        ("pvt_v2", {0: "stage0_norm", 1: "stage1_norm"}, set()),
        ("coat", {0: None, 1: "norm1", 2: "norm2", 3: "norm3"}, {0, 1, 2, 3}),
        ("coat_lite", {0: None, 3: "norm"}, {0, 3}),
    ],
)
def test_norms_and_class_tokens_of_stages(name, norms, tokens):
    model = toy(name)
    assert {stage: norm_name(model, stage) for stage in norms} == norms
    assert {stage for stage in norms if has_class_token(model, stage)} == tokens


def test_what_has_no_blocks_is_refused():
    with pytest.raises(ValueError, match="relevance: expected a model of keras_vit.models"):
        require_blocks("relevance", keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]))
    with pytest.raises(ValueError, match="Received: 'SwinT'"):
        require_blocks("relevance", "SwinT")
