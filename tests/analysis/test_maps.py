"""Where the maps of every toy are found."""

import pytest

from keras_vit.analysis.maps import block_map, scales_of, stage_maps
from tests.models.toys import TOYS


def toy(name):
    variant, shape = TOYS[name]
    return variant(weights=None, input_shape=shape, classes=5)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("vit", {0: (5, 6, 24)}),
        ("deit_distilled", {0: (5, 6, 24)}),
        ("swin", {0: (12, 15, 12), 1: (6, 8, 24)}),
        ("pvt", {0: (10, 12, 12), 1: (5, 6, 18)}),
        ("pvt_v2", {0: (9, 12, 12), 1: (5, 6, 18)}),
        ("tnt", {0: (5, 6, 24)}),
        ("t2t_dense", {0: (2, 3, 21)}),
        ("coat", {0: (16, 24, 10), 1: (8, 12, 15), 2: (4, 6, 15), 3: (2, 3, 15)}),
    ],
)
def test_maps_of_stages(name, expected):
    maps = stage_maps(toy(name))
    assert {stage: tuple(x.shape[1:]) for stage, x in maps.items()} == expected


def test_maps_of_blocks():
    model = toy("coat")
    assert tuple(block_map(model, "stage1_block0").shape[1:]) == (8, 12, 15)
    assert tuple(block_map(model, "parallel0").shape[1:]) == (2, 3, 15)
    assert tuple(block_map(toy("tnt"), "block0").shape[1:]) == (5, 6, 24)


def test_a_parallel_block_has_the_scales_of_the_last_stages():
    model = toy("coat")
    assert [stage for _, stage in scales_of(model, "parallel1")] == [1, 2, 3]
    assert [(x.shape[1:], stage) for x, stage in scales_of(model, "stage2_block0")] == [((25, 15), 2)]
    assert [(x.shape[1:], stage) for x, stage in scales_of(toy("tnt"), "block1")] == [((31, 24), 0)]


def test_what_stands_behind_a_map_is_the_block():
    model = toy("swin")
    assert stage_maps(model)[0] is model.get_layer("stage0_block1").output
    normed = toy("pvt_v2")
    assert stage_maps(normed)[1] is normed.get_layer("stage1_norm").output


def test_a_layer_that_is_no_block_is_refused():
    with pytest.raises(ValueError, match="block0 or block1. Received: layer='patch_embed'"):
        block_map(toy("vit"), "patch_embed")
