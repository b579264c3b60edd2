"""ViT: epsilons, head and the ablations of App. D."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from safetensors.numpy import save_file

from keras_vit.layers import EncoderBlock
from keras_vit.models import vit
from keras_vit.models.family import Variant
from keras_vit.weights.resample import interpolation_matrix

POOLS, POSITIONS = ("token", "gap"), ("none", "learned_1d", "learned_2d", "relative")
ABLATIONS = pytest.mark.parametrize("pool, positions", list(itertools.product(POOLS, POSITIONS)))
SHAPE = (40, 48, 3)  # 5 x 6 patches


def build(pool="token", positions="learned_1d", **arguments):
    config = vit.Config(24, 2, 3, 8, pool=pool, positions=positions)
    given = {"weights": None, "input_shape": SHAPE, "classes": 5, "classifier_activation": None}
    model = Variant("ToyViT", vit.VIT, config, 0)(**{**given, **arguments})
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if "seed" not in variable.path:
            value = ops.convert_to_numpy(variable)
            variable.assign(value + 0.2 * rng.standard_normal(value.shape))
    return model


def random_images(count=3, height=40, width=48):
    return np.random.default_rng(1).standard_normal((count, height, width, 3)).astype("float32")


def shuffled(images):
    """The same patches in another order."""
    patches = images.reshape(-1, 5, 8, 6, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 30, 8, 8, 3)
    patches = patches[:, np.random.default_rng(2).permutation(30)]
    return patches.reshape(-1, 5, 6, 8, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(images.shape)


def test_epsilons_and_the_form_of_gelu():
    model = build()
    blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
    assert len(blocks) == 2
    norms = [
        model.get_layer("norm"),
        *(norm for block in blocks for norm in (block.norm1, block.norm2)),
    ]
    assert {norm.epsilon for norm in norms} == {1e-6}
    mlp = blocks[0].mlp
    exact = mlp.fc2(ops.gelu(mlp.fc1(ops.ones((1, 2, 24))), approximate=False))
    np.testing.assert_array_equal(mlp(ops.ones((1, 2, 24))), exact)


@ABLATIONS
def test_an_ablation_trains_and_every_weight_has_a_gradient(pool, positions):
    model, labels = build(pool, positions, drop_path_rate=0.1), np.arange(8) % 5
    optimizer = keras.optimizers.Adam(3e-3)
    losses = []
    for _ in range(5):
        with tf.GradientTape() as tape:
            logits = model(random_images(8), training=True)
            loss = ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        assert [v.path for v, g in zip(model.trainable_variables, gradients) if g is None or not np.any(g)] == []
        optimizer.apply(gradients, model.trainable_variables)
        losses.append(float(loss))
    assert losses[-1] < losses[0]


@ABLATIONS
def test_an_ablation_sees_the_order_of_patches_unless_it_has_no_positions(pool, positions):
    model, images = build(pool, positions), random_images()
    difference = np.abs(model(shuffled(images)) - model(images)).max()
    assert difference < 1e-5 if positions == "none" else difference > 1e-2


@ABLATIONS
def test_an_ablation_survives_a_round_trip(pool, positions, tmp_path):
    model, images = build(pool, positions), random_images()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), model(images))


def test_defaults_are_the_published_model():
    config = vit.Config(24, 2, 3, 8)
    assert (config.pool, config.positions) == ("token", "learned_1d")
    assert {(v.config.pool, v.config.positions) for v in vars(vit).values() if isinstance(v, Variant)} == {
        ("token", "learned_1d")
    }


def test_parameters_of_the_ablations():
    D, d, N = 24, 8, 30
    bare = build("gap", "none").count_params()
    for pool, tokens in (("gap", N), ("token", N + 1)):
        own = bare + (D if pool == "token" else 0)
        assert build(pool, "none").count_params() == own
        assert build(pool, "learned_1d").count_params() == own + tokens * D
        assert build(pool, "learned_2d").count_params() == own + (5 + 6) * D // 2
        assert build(pool, "relative").count_params() == own + 2 * (2 * tokens - 1) * d


def test_average_pooling_is_the_mean_of_the_normalised_patches():
    model, images = build("gap"), random_images()
    assert "class_token" not in {layer.name for layer in model.layers}
    tokens = keras.Model(model.input, model.get_layer("norm").output)(images)
    assert tokens.shape == (3, 30, 24)
    np.testing.assert_allclose(model(images), model.get_layer("head")(ops.mean(tokens, axis=1)), atol=1e-5)
    features = build("gap", include_top=False)
    features.set_weights(model.get_weights()[:-2])
    np.testing.assert_allclose(features(images), ops.reshape(tokens, (3, 5, 6, 24)), atol=1e-5)


def test_average_pooling_has_no_class_token_to_give():
    with pytest.raises(ValueError, match="needs a class token"):
        build("gap", include_top=False, pooling="token")


def test_two_dimensional_positions_are_half_column_half_row():
    layer = vit.GridPositionEmbedding()
    layer.build((None, 3, 4, 5))
    columns, rows = np.random.default_rng(0).standard_normal((4, 2)), np.ones((3, 3)) * [
        [10],
        [20],
        [30],
    ]
    layer.columns.assign(columns)
    layer.rows.assign(rows)
    y = ops.convert_to_numpy(layer(ops.zeros((2, 3, 4, 5))))
    for i in range(3):
        for j in range(4):
            np.testing.assert_allclose(y[1, i, j], [*columns[j], *rows[i]], rtol=1e-6)


def test_ablations_that_do_not_exist_are_errors():
    with pytest.raises(ValueError, match="pool='max'"):
        vit.Config(24, 2, 3, 8, pool="max")
    with pytest.raises(ValueError, match="positions='sine'"):
        vit.Config(24, 2, 3, 8, positions="sine")


def save(model, path):
    arrays = {v.path: ops.convert_to_numpy(v) for v in model.weights}
    save_file(arrays, path)
    return arrays


@pytest.mark.parametrize("pool, prefix", [("token", 1), ("gap", 0)])
def test_positions_move_to_another_grid_with_and_without_a_class_token(pool, prefix, tmp_path):
    old = save(build(pool, input_shape=(40, 40, 3)), tmp_path / "w.safetensors")["positions/table"]
    new = build_without_noise(pool, "learned_1d", tmp_path / "w.safetensors")["positions/table"]
    np.testing.assert_array_equal(new[:, :prefix], old[:, :prefix])
    wide = interpolation_matrix(5, 6) @ old[0, prefix:].reshape(5, 5, 24)
    np.testing.assert_allclose(new[0, prefix:].reshape(5, 6, 24), wide, atol=1e-5)


def test_positions_of_columns_and_rows_move_each_along_its_axis(tmp_path):
    old = save(build("gap", "learned_2d", input_shape=(40, 40, 3)), tmp_path / "w.safetensors")
    new = build_without_noise("gap", "learned_2d", tmp_path / "w.safetensors")
    np.testing.assert_array_equal(new["positions/rows"], old["positions/rows"])
    moved = interpolation_matrix(5, 6) @ old["positions/columns"]
    np.testing.assert_allclose(new["positions/columns"], moved, atol=1e-5)


def build_without_noise(pool, positions, path):
    """The weights of a file in a model for 5 x 6 patches, by path."""
    config = vit.Config(24, 2, 3, 8, pool=pool, positions=positions)
    model = Variant("ToyViT", vit.VIT, config, 0)(weights=path, input_shape=SHAPE, classes=5)
    return {v.path: ops.convert_to_numpy(v) for v in model.weights}


def test_relative_positions_stay_on_their_grid(tmp_path):
    save(build("gap", "relative", input_shape=(40, 40, 3)), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="offset_keys"):
        build_without_noise("gap", "relative", tmp_path / "w.safetensors")


def test_flattened_patches_are_in_reading_order():
    x = keras.Input((2, 3, 1))
    model = keras.Model(x, vit.flatten(x))
    grid = np.arange(6, dtype="float32").reshape(1, 2, 3, 1)
    np.testing.assert_array_equal(ops.reshape(model(grid), (6,)), np.arange(6))
    assert isinstance(model.layers[-1], layers.Reshape)
