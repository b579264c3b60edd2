"""Features of blocks against the blocks themselves, run one after the other."""

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.models.blocks import blocks
from tests.analysis.toys import model_and_images, noise
from tests.models.cases import one_per_family, params
from tests.models.toys import TOYS


def toy(name, **options):
    variant, shape = TOYS[name]
    return variant(weights=None, input_shape=shape, **options)


def arrays(outputs):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def after(model, layer, images):
    """What a layer of the model gives on."""
    return keras.ops.convert_to_numpy(keras.Model(model.inputs[0], model.get_layer(layer).output)(images))


@pytest.mark.parametrize("name, leading", [("deit_distilled", 2), ("dinov2_registers", 4), ("tnt", 1)])
def test_the_patches_of_each_block_behind_the_final_norm(name, leading):
    model, images = model_and_images(name)
    features = keras_vit.intermediate_features(model, blocks=[0, 1], class_token=True)
    (first, _), (last, token) = arrays(features(images))
    tokens = after(model, "norm", images)
    np.testing.assert_allclose(last, tokens[:, leading:].reshape(2, 5, 6, 24), atol=1e-6)
    np.testing.assert_allclose(token, tokens[:, 0], atol=1e-6)
    (before,) = arrays(keras_vit.intermediate_features(model, blocks=["block0"], norm=False)(images))
    np.testing.assert_allclose(model.get_layer("norm")(before), first, atol=1e-5)


@pytest.mark.parametrize("name", params({"swin", "pvt"}, one_per_family()))
def test_every_block_of_every_family_on_its_own_grid(name):
    model, images = model_and_images(name)
    found = blocks(model)
    maps = arrays(keras_vit.intermediate_features(model, blocks=len(found))(images))
    sequences = arrays(keras_vit.intermediate_features(model, range(len(found)), maps=False)(images))
    assert len(maps) == len(found)
    for features, sequence in zip(maps, sequences):
        np.testing.assert_array_equal(sequence, features.reshape(2, -1, features.shape[-1]))
    heights = [features.shape[1] for features in maps if features.ndim == 4]
    assert len(heights) == len(maps) and (heights == sorted(heights, reverse=True) or name == "coat")


def test_the_norm_of_a_stage_is_its_own_or_that_of_the_last():
    swin, images = model_and_images("swin")
    first, last = arrays(keras_vit.intermediate_features(swin, [1, 3])(images))
    np.testing.assert_allclose(first, after(swin, "stage0_block1", images), atol=1e-6)
    np.testing.assert_allclose(last, after(swin, "norm", images), atol=1e-6)
    pvt, images = model_and_images("pvt_v2")
    for norm in (True, False):  # the next stage reads what is behind it
        first, inner, last = arrays(keras_vit.intermediate_features(pvt, [0, 1, 2], norm)(images))
        np.testing.assert_allclose(first, after(pvt, "stage0_norm", images), atol=1e-6)
        np.testing.assert_allclose(last, after(pvt, "stage1_norm", images), atol=1e-6)
        assert np.allclose(inner, after(pvt, "stage1_block0", images), atol=1e-6) != norm


def test_a_norm_behind_the_pooling_is_none_of_the_map():
    model, images = model_and_images("convnext")
    (last,) = arrays(keras_vit.intermediate_features(model, 1)(images))
    np.testing.assert_allclose(last, after(model, "stage1_block1", images), atol=1e-6)


@pytest.mark.slow
def test_parallel_blocks_have_three_scales():
    model, images = model_and_images("coat")
    asked = ["parallel1/stage3", "stage1_block0", "parallel1/stage1", "parallel0", "parallel1/stage2"]
    features = keras_vit.intermediate_features(model, asked, class_token=True)
    expected = ["stage1_block0", "parallel0", "parallel1_stage1", "parallel1_stage2", "parallel1_stage3"]
    assert features.output_names[::2] == [f"{name}_map" for name in expected]
    pairs = arrays(features(images))
    grids = [(8, 12), (2, 3), (8, 12), (4, 6), (2, 3)]
    assert [x.shape for x, _ in pairs] == [(2, *grid, 15) for grid in grids]
    for (x, token), stage in zip(pairs[2:], (1, 2, 3)):
        tokens = np.concatenate([token[:, None], x.reshape(2, -1, 15)], axis=1)
        np.testing.assert_allclose(tokens, after(model, f"norm{stage}", images), atol=1e-6)


def test_they_come_in_the_order_of_the_model_whatever_the_order_of_the_list():
    names = keras_vit.intermediate_features(toy("swin"), [-1, "stage0_block1", np.int64(2)]).output_names
    assert names == ["stage0_block1_map", "stage1_block0_map", "stage1_block1_map"]
    assert keras_vit.intermediate_features(toy("t2t_dense"), 2).output_names == ["block1_map", "block3_map"]


def test_the_layers_are_those_of_the_model():
    model, images = model_and_images("vit", include_top=False)
    features = keras_vit.intermediate_features(model, 1)
    assert {id(weight) for weight in features.weights} == {id(weight) for weight in model.weights}
    (before,) = arrays(features(images))
    model.get_layer("norm").beta.assign_add(np.ones(24))
    np.testing.assert_allclose(features(images)[0], before + 1, atol=1e-5)


@pytest.mark.parametrize(
    "count, class_token", [(1, True), *(pytest.param(n, False, marks=pytest.mark.slow) for n in (1, 2))]
)
def test_a_file_keeps_the_list(count, class_token, tmp_path):
    model, images = model_and_images("vit")
    features = keras_vit.intermediate_features(model, count, class_token=class_token)
    features.save(tmp_path / "features.keras")
    loaded = keras.saving.load_model(tmp_path / "features.keras")
    expected, found = features(images), loaded(images)
    assert len(expected) == len(found) == count and len(found[0]) == len(images)
    assert [x.shape for x in keras.tree.flatten(features(keras.Input(images.shape[1:])))] == [
        (None, *x.shape[1:]) for x in keras.tree.flatten(expected)
    ]
    for x, y in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.slow
def test_they_are_exported_under_the_names_of_their_blocks(tmp_path):
    import tensorflow as tf

    model, images = model_and_images("vit")
    features = keras_vit.intermediate_features(model, 2, class_token=True)
    expected = arrays(features(images))
    features.export(tmp_path / "features", verbose=False)
    served = tf.saved_model.load(tmp_path / "features").signatures["serving_default"](tf.constant(images))
    assert set(served) == {f"block{i}_{kind}" for i in (0, 1) for kind in ("map", "class_token")}
    for name, value in zip(features.output_names, keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(served[name], value, atol=1e-5)


def test_gradients_reach_the_first_layer():
    import tensorflow as tf

    model, images = model_and_images("pvt")
    features = keras_vit.intermediate_features(model, ["stage0_block0"])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(features(images)[0] * noise(1, 2, 10, 12, 12))
    gradient = tape.gradient(loss, model.get_layer("stage0_patch_embed").kernel)
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize(
    "wrong, message",
    [
        (0, "expected 1 to 2, as many as 'toy_vit' has"),
        (3, "expected 1 to 2, as many as 'toy_vit' has.* Received: blocks=3"),
        (True, "expected a number of blocks, or a list"),
        (1.5, "expected a number of blocks, or a list"),
        ("block0", "expected a number of blocks, or a list"),
        ([], "at least one block, and each once"),
        ([1, -1], "at least one block, and each once"),
        ([2], "numbers from -2 to 1, or names, block0 or block1 of 'toy_vit'. Received: 2"),
        (["norm"], "Received: 'norm'"),
        (["block0/stage1"], "Received: 'block0/stage1'"),
        ([None], "Received: None"),
    ],
)
def test_blocks_that_there_are_not(wrong, message):
    with pytest.raises(ValueError, match=message):
        keras_vit.intermediate_features(toy("vit"), wrong)


def test_what_has_no_class_token_or_no_blocks_is_refused():
    with pytest.raises(ValueError, match="class_token: 'stage1_block1'.*has no class token.*class_token=False"):
        keras_vit.intermediate_features(toy("convnext"), 1, class_token=True)
    with pytest.raises(ValueError, match="'stage0_block0' of 'toy_pvt' has no class token"):
        keras_vit.intermediate_features(toy("pvt"), [0, -1], class_token=True)
    with pytest.raises(ValueError, match="intermediate_features: expected a model of keras_vit.models"):
        keras_vit.intermediate_features(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]))
