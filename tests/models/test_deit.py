"""DeiT's two tokens and two heads, DeiT III's layer scale, positions and constant rate, and their file layouts."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from safetensors.numpy import save_file

from keras_vit.layers import EncoderBlock
from keras_vit.models import deit, vit
from keras_vit.models.family import Variant
from keras_vit.weights.resample import interpolation_matrix

SHAPE = (40, 48, 3)  # 5 x 6 patches
DEIT = Variant("ToyDeiT", deit.DEIT, vit.Config(24, 2, 3, 8), 0)
DISTILLED = Variant("ToyDistilled", deit.DEIT_DISTILLED, vit.Config(24, 2, 3, 8), 0)
DEIT3 = Variant("ToyDeiT3", deit.DEIT3, vit.Config(24, 2, 3, 8), 0)
ALL = pytest.mark.parametrize("variant", [DEIT, DISTILLED, DEIT3], ids=repr)


def build(variant, **arguments):
    """A toy with every weight off its initial value."""
    given = {"weights": None, "input_shape": SHAPE, "classes": 5, "classifier_activation": None}
    model = variant(**{**given, **arguments})
    for i, variable in enumerate(model.trainable_variables):
        noise = np.random.default_rng(i).standard_normal(variable.shape)
        variable.assign(ops.convert_to_numpy(variable) + 0.3 * noise)
    return model


def without_blocks(variant):
    """The same model with an encoder that only normalises: each token's way can be followed by hand."""
    return Variant(variant.name, variant.family, vit.Config(24, 0, 3, 8), 0)


def images(count=3):
    return np.random.default_rng(1).standard_normal((count, *SHAPE)).astype("float32")


def arrays(model):
    return {v.path: ops.convert_to_numpy(v) for v in model.trainable_variables}


def layer_norm(x, w):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return x * w["norm/gamma"] + w["norm/beta"]


@ALL
def test_epsilons(variant):
    model = build(variant)
    blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
    norms = [
        model.get_layer("norm"),
        *(norm for block in blocks for norm in (block.norm1, block.norm2)),
    ]
    assert [norm.epsilon for norm in norms] == [1e-6] * 5


def test_deit_is_vit():
    published = {"Ti": "ViTTi16", "S": "ViTS16", "B": "ViTB16"}
    for size, name in published.items():
        ours, theirs = getattr(deit, f"DeiT{size}"), getattr(vit, name)
        assert (ours.config, ours.parameters) == (theirs.config, theirs.parameters)
    model, twin = build(DEIT), Variant("ToyViT", vit.VIT, DEIT.config, 0)
    twin = twin(weights=None, input_shape=SHAPE, classes=5, classifier_activation=None)
    twin.set_weights(model.get_weights())
    np.testing.assert_array_equal(twin(images()), model(images()))


# Two tokens, two heads -----------------------------------------------------------------------------------------------


def test_tokens_are_class_then_distillation_then_patches():
    model = build(without_blocks(DISTILLED))
    w = arrays(model)
    tokens = keras.Model(model.input, model.get_layer("positions").output)(images())
    assert tokens.shape == (3, 2 + 30, 24)
    table = w["positions/table"][0]
    for i, name in enumerate(("class_token", "dist_token")):
        expected = np.broadcast_to(w[f"{name}/token"][0, 0] + table[i], (3, 24))
        np.testing.assert_allclose(tokens[:, i], expected, atol=1e-6)
    patches = keras.Model(model.input, model.get_layer("patch_embed").output)(images())
    np.testing.assert_allclose(tokens[:, 2:], ops.reshape(patches, (3, 30, 24)) + table[2:], atol=1e-5)


def test_output_is_the_activation_of_the_mean_of_the_logits():
    model = build(without_blocks(DISTILLED), classifier_activation="softmax")
    w = arrays(model)
    logits = [
        layer_norm(w[f"{token}/token"][0, 0] + w["positions/table"][0, i], w) @ w[f"{head}/kernel"] + w[f"{head}/bias"]
        for i, (token, head) in enumerate((("class_token", "head"), ("dist_token", "head_dist")))
    ]
    exponentials = np.exp((logits[0] + logits[1]) / 2)
    expected = np.broadcast_to(exponentials / exponentials.sum(), (3, 5))
    np.testing.assert_allclose(model(images()), expected, atol=1e-5)
    for got, want in zip(deit.two_heads(model)(images()), logits):
        np.testing.assert_allclose(got, np.broadcast_to(want, (3, 5)), atol=1e-5)


@pytest.mark.parametrize("reloaded", [False, True])
def test_two_heads_shares_the_model(reloaded, tmp_path):
    model = build(DISTILLED)
    if reloaded:
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
    heads = deit.two_heads(model)
    logits, distilled = heads(images())
    assert logits.shape == distilled.shape == (3, 5)
    assert not np.allclose(logits, distilled, atol=1e-3)
    np.testing.assert_allclose(model(images()), (logits + distilled) / 2, atol=1e-6)
    assert {id(v) for v in heads.weights} == {id(v) for v in model.weights}
    model.get_layer("head_dist").bias.assign(10 * np.ones(5))
    assert np.abs(heads(images())[1] - distilled).max() > 5


def test_two_heads_train_with_keras_own_fit_and_the_model_follows():
    model = build(DISTILLED, drop_path_rate=0.1, drop_rate=0.1)
    before, heads = ops.convert_to_numpy(model(images())), deit.two_heads(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    heads.compile("adam", [loss, loss])
    history = heads.fit(images(8), [np.arange(8) % 5, np.arange(8) % 3], epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert np.abs(model(images()) - before).max() > 1e-4


def test_each_head_learns_from_its_own_loss():
    model = build(DISTILLED)
    heads = deit.two_heads(model)
    for used, idle in ((0, "head_dist"), (1, "head")):
        with tf.GradientTape() as tape:
            loss = ops.mean(heads(images(), training=True)[used] ** 2)
        named = {
            v.path: tape_gradient
            for v, tape_gradient in zip(
                heads.trainable_variables,
                tape.gradient(loss, [v.value for v in heads.trainable_variables]),
            )
        }
        assert {path for path, g in named.items() if g is None} == {
            f"{idle}/kernel",
            f"{idle}/bias",
        }


@pytest.mark.parametrize("variant, arguments", [(DEIT, {}), (DISTILLED, {"include_top": False})], ids=str)
def test_two_heads_of_other_models_are_an_error(variant, arguments):
    with pytest.raises(ValueError, match="two_heads: expected a distilled DeiT.*Received: 'mine'"):
        deit.two_heads(build(variant, name="mine", **arguments))


def test_heads_compute_in_float32_under_bfloat16():
    model = build(DISTILLED, dtype="mixed_bfloat16", classifier_activation="softmax")
    dtypes = {name: model.get_layer(name).compute_dtype for name in ("head", "head_dist", "mean", "predictions")}
    assert set(dtypes.values()) == {"float32"}
    np.testing.assert_allclose(ops.sum(model(images()), axis=-1), np.ones(3), atol=1e-6)


def test_features_of_the_distilled_model():
    model = build(DISTILLED)
    tokens = keras.Model(model.input, model.get_layer("norm").output)(images())
    for pooling, expected in (
        (None, ops.reshape(tokens[:, 2:], (3, 5, 6, 24))),
        ("avg", ops.mean(tokens[:, 2:], axis=1)),
        ("max", ops.max(tokens[:, 2:], axis=1)),
        ("token", ops.mean(tokens[:, :2], axis=1)),
    ):
        features = DISTILLED(include_top=False, weights=None, input_shape=SHAPE, pooling=pooling)
        features.set_weights([v for v in model.get_weights()][: len(features.weights)])
        np.testing.assert_allclose(features(images()), expected, atol=1e-5)


def test_a_new_number_of_classes_gives_two_new_heads(tmp_path, caplog):
    model = build(DISTILLED)
    save_file(arrays(model), tmp_path / "w.safetensors")
    with caplog.at_level(logging.WARNING, "keras_vit"):
        other = DISTILLED(weights=tmp_path / "w.safetensors", input_shape=SHAPE, classes=7)
    assert "head for 5 classes is left out, the one with 7 is new" in caplog.text
    old, new = arrays(model), arrays(other)
    changed = {path for path in new if new[path].shape != old[path].shape or not np.array_equal(new[path], old[path])}
    assert {path.split("/")[0] for path in changed} == {"head", "head_dist"}


# DeiT III ------------------------------------------------------------------------------------------------------------


def test_deit3_gives_positions_to_patches_only():
    model = build(without_blocks(DEIT3))
    w = arrays(model)
    assert w["positions/table"].shape == (1, 30, 24)
    tokens = keras.Model(model.input, model.get_layer("class_token").output)(images())
    np.testing.assert_allclose(tokens[:, 0], np.broadcast_to(w["class_token/token"][0, 0], (3, 24)), atol=1e-6)
    patches = keras.Model(model.input, model.get_layer("patch_embed").output)(images())
    expected = ops.reshape(patches, (3, 30, 24)) + w["positions/table"]
    np.testing.assert_allclose(tokens[:, 1:], expected, atol=1e-5)


def test_deit3_scales_both_branches():
    fresh = DEIT3(weights=None, input_shape=SHAPE, classes=5)
    model = build(DEIT3)
    tokens = np.random.default_rng(2).standard_normal((2, 31, 24)).astype("float32")
    for i in range(2):
        for name in ("scale1", "scale2"):
            gamma = getattr(fresh.get_layer(f"block{i}"), name).gamma
            np.testing.assert_allclose(gamma, np.full(24, 1e-4, "float32"))
            getattr(model.get_layer(f"block{i}"), name).gamma.assign(np.zeros(24))
        np.testing.assert_array_equal(model.get_layer(f"block{i}")(tokens), tokens)


def test_drop_path_rates_are_constant_in_deit3_and_linear_in_deit():
    rates = {
        variant.name: [build(variant, drop_path_rate=0.4).get_layer(f"block{i}").drop_path_rate for i in range(2)]
        for variant in (DEIT, DISTILLED, DEIT3)
    }
    assert rates == {"ToyDeiT": [0.0, 0.4], "ToyDistilled": [0.0, 0.4], "ToyDeiT3": [0.4, 0.4]}


# Files ---------------------------------------------------------------------------------------------------------------


def published(model, scales=("ls1.gamma", "ls2.gamma")):
    """A model's weights in the layout of the published files."""
    fixed = {
        "class_token/token": "cls_token",
        "dist_token/token": "dist_token",
        "positions/table": "pos_embed",
    }
    out = {}
    for path, array in arrays(model).items():
        name = fixed.get(path)
        if name is None:
            name = path.replace("patch_embed", "patch_embed/proj").replace("block", "blocks/").replace("/", ".")
            name = name.replace("scale1.gamma", scales[0]).replace("scale2.gamma", scales[1])
            if ".ls" not in name and "gamma_" not in name:
                name = name.replace("kernel", "weight").replace("gamma", "weight").replace("beta", "bias")
        if path.endswith("kernel"):
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        out[name] = np.ascontiguousarray(array)
    return out


@pytest.mark.parametrize(
    "variant, scales",
    [
        (DEIT, ()),
        (DISTILLED, ()),
        (DEIT3, ("ls1.gamma", "ls2.gamma")),
        (DEIT3, ("gamma_1", "gamma_2")),
    ],
    ids=str,
)
def test_published_layouts_load(variant, scales, tmp_path):
    model = build(variant)
    stored = published(model, *((scales,) if scales else ()))
    assert {"blocks.0.attn.qkv.weight", "patch_embed.proj.weight", "pos_embed", "head.bias"} <= set(stored)
    assert not scales or f"blocks.1.{scales[1]}" in stored
    save_file(stored, tmp_path / "w.safetensors")
    again = variant(weights=tmp_path / "w.safetensors", input_shape=SHAPE, classes=5, classifier_activation=None)
    np.testing.assert_array_equal(again(images()), model(images()))


@pytest.mark.parametrize("variant, prefix", [(DEIT, 1), (DISTILLED, 2), (DEIT3, 0)], ids=str)
def test_positions_move_to_another_grid_behind_the_leading_tokens(variant, prefix, tmp_path):
    model = build(variant, input_shape=(40, 40, 3))
    save_file(published(model), tmp_path / "w.safetensors")
    moved = arrays(variant(weights=tmp_path / "w.safetensors", input_shape=SHAPE, classes=5))["positions/table"]
    old = arrays(model)["positions/table"]
    np.testing.assert_array_equal(moved[:, :prefix], old[:, :prefix])
    wide = interpolation_matrix(5, 6) @ old[0, prefix:].reshape(5, 5, 24)
    np.testing.assert_allclose(moved[0, prefix:].reshape(5, 6, 24), wide, atol=1e-5)


def test_a_plain_file_is_not_a_distilled_one(tmp_path):
    save_file(published(build(DEIT)), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="missing: dist_token/token"):
        DISTILLED(weights=tmp_path / "w.safetensors", input_shape=SHAPE, classes=5)
    save_file(published(build(DISTILLED)), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="unexpected: dist_token"):
        DEIT(weights=tmp_path / "w.safetensors", input_shape=SHAPE, classes=5)
