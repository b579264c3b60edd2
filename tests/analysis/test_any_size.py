"""What is read from a model of any size is what the model of that size gives."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit import analysis
from keras_vit.models import dinov2
from keras_vit.models.blocks import blocks, patch_grid
from keras_vit.models.family import Variant
from keras_vit.models.sizes import at_image_size
from tests.analysis.toys import ATTENDING, noise
from tests.models.cases import one_per_family, params
from tests.models.toys import TOYS

SIZES = {"swin": (36, 84), "coat": (32, 96), "coat_lite": (32, 96), "hybrid": (48, 32), "pvt": (24, 72)}
USUAL = params({"vit"}, one_per_family())


def both_and_images(toy, **options):
    """A toy of any size, the same of one size with sides unlike its native ones, and images of that size."""
    variant, shape = TOYS[toy]
    options = {"classes": 5, "weights": None, **options}
    model = variant(input_shape=(None, None, 3), native_size=shape[:2], **options)
    for variable in model.trainable_weights:
        if len(variable.shape) > 1:
            variable.assign(variable * 5.0)
    size = SIZES.get(toy, (32, 64))
    return model, at_image_size(model, size), noise(0, 2, *size, 3)


def assert_equal(found, expected):
    """Arrays in nested structures and dataclasses."""
    found, expected = (
        keras.tree.map_structure(lambda x: vars(x) if dataclasses.is_dataclass(x) else x, x) for x in (found, expected)
    )
    for x, y in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        if dataclasses.is_dataclass(x):
            assert_equal(vars(x), vars(y))
        elif isinstance(y, (str, int, type(None))):
            assert x == y
        else:
            x, y = (keras.ops.convert_to_numpy(value) for value in (x, y))
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5 * max(1, np.nanmax(np.abs(y))))


@pytest.mark.parametrize("toy", params({"swin"}, ATTENDING))
def test_attention_maps_and_what_is_made_of_them(toy):
    model, fixed, images = both_and_images(toy)
    maps = analysis.attention_maps(model, images)
    assert_equal(maps, analysis.attention_maps(fixed, images))
    assert {each.queries.image for each in maps.values()} == {images.shape[1:3]}
    assert_equal(analysis.mean_attention_distance(model, images), analysis.mean_attention_distance(fixed, images))
    if not toy.startswith("coat"):
        assert_equal(analysis.attention_rollout(model, images), analysis.attention_rollout(fixed, images))


@pytest.mark.parametrize("toy", USUAL)
def test_relevance_components_and_receptive_fields(toy):
    model, fixed, images = both_and_images(toy)
    for function in (analysis.relevance, analysis.patch_components, analysis.effective_receptive_field):
        found = function(model, images)
        assert_equal(np.abs(found), np.abs(function(fixed, images)))
    assert found.shape == images.shape[1:3]


@pytest.mark.parametrize("toy", params({"swin"}, one_per_family()))
def test_features_of_all_blocks(toy):
    model, fixed, images = both_and_images(toy, include_top=False)
    found = keras_vit.intermediate_features(model, len(blocks(model)))
    expected = keras_vit.intermediate_features(fixed, len(blocks(model)))
    assert found.output_names == expected.output_names and found.inputs[0].shape == (None, None, None, 3)
    assert_equal(found(images), expected(images))


@pytest.mark.slow
def test_features_of_any_size_are_exported(tmp_path):
    import tensorflow as tf

    model, fixed, images = both_and_images("vit", include_top=False)
    keras_vit.intermediate_features(model, 1, class_token=True).export(tmp_path / "features", verbose=False)
    ((patches, token),) = keras_vit.intermediate_features(fixed, 1, class_token=True)(images)
    served = tf.saved_model.load(tmp_path / "features").signatures["serving_default"](tf.constant(images))
    assert_equal(served, {"block1_class_token": token, "block1_map": patches})


@pytest.mark.parametrize("toy", params({"swin"}, sorted({"tnt", *TOYS} - {"convnext_isotropic"})))
def test_pyramids(toy, tmp_path):
    model, fixed, images = both_and_images(toy, include_top=False)
    pyramid = keras_vit.feature_pyramid(model)
    levels = pyramid.pyramid_outputs
    assert list(levels) == list(keras_vit.feature_pyramid(fixed).pyramid_outputs)
    assert all(x.shape[1:3] == (None, None) for x in levels.values())
    pyramid.save(tmp_path / "pyramid.keras")
    loaded = keras.saving.load_model(tmp_path / "pyramid.keras")
    assert list(loaded.pyramid_outputs) == list(levels)
    assert_equal(loaded(images), pyramid(images))
    strides = {name: 2 ** int(name[1:]) for name in levels}
    for name, x in pyramid(images).items():
        assert all(abs(n - side / strides[name]) < 1 for n, side in zip(x.shape[1:3], images.shape[1:3]))


def test_patches_of_other_sizes_than_the_weights_give_the_four_strides():
    toy = Variant("ToyDINOv2", dinov2.DINOV2, dinov2.Config(24, 2, 3, 14))
    model = toy(weights=None, include_top=False, input_shape=(None, None, 3), patch_size=16)
    maps = keras_vit.feature_pyramid(model)(noise(0, 1, 64, 96, 3))
    assert {name: tuple(x.shape[1:3]) for name, x in maps.items()} == {
        f"P{level}": (64 // 2**level, 96 // 2**level) for level in (2, 3, 4, 5)
    }


@pytest.mark.parametrize("toy, size", [("vit", (33, 50)), ("dinov2_registers", (33, 50)), ("swin", (31, 41))])
def test_maps_of_padded_images_lie_on_the_padded_image(toy, size):
    variant, shape = TOYS[toy]
    model = variant(weights=None, input_shape=(None, None, 3), native_size=shape[:2], classes=5, dynamic_img_pad=True)
    images, P = noise(0, 1, *size, 3), model.get_layer("patch_embed").strides[0]
    grid = tuple(-(-side // P) for side in size)
    first, *_ = analysis.attention_maps(model, images).values()
    assert first.queries.grid == grid and first.queries.image == tuple(P * n for n in grid)
    placed = first.queries.pixels[~np.isnan(first.queries.pixels)]
    assert placed.min() == P / 2
    (features,) = keras_vit.intermediate_features(model, ["block0" if toy != "swin" else "stage0_block0"])(images)
    assert tuple(features.shape[1:3]) == patch_grid(model, image_size=size) == grid


def test_similarities_of_positions_are_those_of_the_native_grid():
    model, _, _ = both_and_images("vit")
    assert analysis.position_similarity(model)["positions"].shape == (5, 6, 5, 6)
    native = at_image_size(model, TOYS["vit"][1][:2])
    assert_equal(analysis.position_similarity(model), analysis.position_similarity(native))


def test_images_of_a_size_that_the_model_does_not_take_are_named():
    model, _, images = both_and_images("vit")
    for function in (analysis.attention_maps, analysis.relevance, analysis.patch_components):
        with pytest.raises(ValueError, match="multiples of 8.*dynamic_img_pad=True.*Received: 31 x 64"):
            function(model, images[:, :31])
    with pytest.raises(ValueError, match=r"expected \(B, any, any, 3\)"):
        analysis.attention_maps(model, images[..., :1])
