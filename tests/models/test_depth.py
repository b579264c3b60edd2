"""Levels of depth: every layer of every model has one, and they rise along the model."""

import keras
import pytest

import keras_vit
from keras_vit import depth_groups
from keras_vit.models import VARIANTS
from tests.models.cases import one_per_paper, params
from tests.models.toys import TOYS


def toy(name):
    variant, shape = TOYS[name]
    return variant(weights=None, input_shape=shape, classes=5)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("vit", {"patch_embed": 0, "class_token": 0, "positions": 0, "block0": 1, "block1": 2, "norm": 3, "head": 3}),
        ("swin", {"patch_embed": 0, "stage0_block1": 2, "merge1": 3, "stage1_block0": 3, "norm": 5, "head": 5}),
        ("deit_distilled", {"dist_token": 0, "block1": 2, "head": 3, "head_dist": 3}),
        ("hybrid", {"stem_conv": 0, "stage1_unit1": 0, "patch_embed": 0, "block0": 1, "head": 3}),
        ("convnext", {"stem_norm": 0, "stage0_block0": 1, "downsample1": 2, "stage1_block0": 2, "head": 4}),
        ("tnt", {"pixel_positions": 0, "block0": 1, "norm": 3}),
        ("pvt", {"stage0_positions": 0, "stage0_block0": 1, "class_token": 2, "stage1_block0": 2, "head": 4}),
        ("t2t_dense", {"tokens2": 0, "block1": 2, "transition2": 3, "block3": 3, "head": 4}),
        ("coat_lite", {"cpe0": 0, "stage0_block0_qkv": 1, "stage0_block0": 1, "stage1_patch_embed": 2, "cpe3": 4}),
        ("coat", {"crpe1": 2, "stage3_block0": 4, "stage1_parallel0_qkv": 5, "parallel1": 6, "norm1": 7, "head": 7}),
    ],
)
def test_levels_of_a_family(name, expected):
    levels = depth_groups(toy(name))
    assert {layer: levels[layer] for layer in expected} == expected


@pytest.mark.parametrize("name", params(one_per_paper(), TOYS))
def test_every_weight_has_a_level_and_none_is_empty(name):
    model = toy(name)
    levels = depth_groups(model)
    assert list(levels) == [layer.name for layer in model.layers if layer.weights]
    assert list(levels.values()) == sorted(levels.values())
    assert set(levels.values()) == set(range(levels["head"] + 1))


@pytest.mark.slow  # of toys it is above
@pytest.mark.parametrize("name", VARIANTS)
def test_every_published_model_has_a_level_per_block(name):
    with keras.StatelessScope(initialize_variables=False):  # shapes only: the largest would take 2.5 GB
        model = VARIANTS[name](weights=None)
    config = getattr(VARIANTS[name].config, "encoder", VARIANTS[name].config)  # of hybrids, the ResNet is stem
    depths = getattr(config, "depths", None) or (config.depth,)
    assert max(depth_groups(model).values()) == sum(depths) + getattr(config, "parallel_depth", 0) + 1


def test_a_loaded_model_has_the_same_levels(tmp_path):
    model = toy("coat")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert depth_groups(loaded) == depth_groups(model)


def test_features_end_with_the_norm():
    variant, shape = TOYS["vit"]
    model = variant(weights=None, input_shape=shape, include_top=False, pooling="token")
    assert depth_groups(model)["norm"] == 3 and "head" not in depth_groups(model)


def test_a_foreign_model_is_refused():
    image = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="expected a model of keras_vit.models. Received: 'other'"):
        keras_vit.depth_groups(keras.Model(image, keras.layers.Dense(2)(image), name="other"))
