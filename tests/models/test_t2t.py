"""T2T-ViT: soft split, both token modules, positions, and the official names and orders."""

import json
import math
import pathlib

import keras
import numpy as np
import pytest
from keras import layers
from safetensors.numpy import save_file

from keras_vit.models import t2t
from keras_vit.models.family import Variant
from keras_vit.system.keras_private import all_layers
from tests.golden.seeded import seeded, seeded_image
from tests.layers.test_soft_split import random, unfold
from tests.models.toys import TOYS

LOGITS = {"classes": 5, "classifier_activation": None}
T2T_TOYS = [name for name in TOYS if name.startswith("t2t")]


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def test_last_soft_split_and_projection_are_one_convolution():
    x, kernel = random(2, 8, 12, 5), random(3, 3, 5, 7, seed=1)
    conv = layers.Conv2D(7, 3, strides=2, use_bias=False)
    conv.build((None, 10, 14, 5))
    conv.kernel.assign(kernel)
    expected = unfold(x, 3, 2, 1) @ kernel.reshape(-1, 7)
    np.testing.assert_allclose(conv(layers.ZeroPadding2D(1)(x)), expected, atol=1e-4)


def test_windows_change_from_channel_first_to_channel_last():
    permuted = t2t.window_order(np.arange(4 * 9)[None], 3)[0]
    for c in range(4):
        for row in range(3):
            for column in range(3):
                assert permuted[(row * 3 + column) * 4 + c] == c * 9 + row * 3 + column


# Performer -----------------------------------------------------------------------------------------------------------


def test_random_features_estimate_the_exponential_of_the_inner_product():
    """Performer, Eq. 5: E[phi(q) phi(k)] = exp(q k) over Gaussian w."""
    w = random(200_000, 3)
    q, k = 0.5 * random(1, 4, 3, seed=1), 0.5 * random(1, 4, 3, seed=2)
    estimate = numpy(t2t.random_features(q, w)) @ numpy(t2t.random_features(k, w)).transpose(0, 2, 1)
    np.testing.assert_allclose(estimate, np.exp(q @ k.transpose(0, 2, 1)), rtol=0.03)


def test_linear_attention_is_attention_with_that_kernel():
    q, k, v = np.abs(random(2, 7, 5)), np.abs(random(2, 7, 5, seed=1)), random(2, 7, 3, seed=2)
    weights = q @ k.transpose(0, 2, 1)
    expected = weights / weights.sum(axis=-1, keepdims=True) @ v
    np.testing.assert_allclose(t2t.linear_attention(q, k, v), expected, atol=1e-5)


def test_features_are_orthogonal_frozen_seeded_and_float32():
    def features(seed, dtype="float32"):
        keras.utils.set_random_seed(seed)
        layer = t2t.TokenPerformer(64, dtype=dtype)
        layer.build((None, 4, 4, 27))
        return layer

    layer = features(1)
    w = numpy(layer.features)
    np.testing.assert_allclose(w @ w.T, 32 * np.eye(32), atol=1e-4)
    assert [weight.name for weight in layer.non_trainable_weights if "seed" not in weight.name] == ["features"]
    np.testing.assert_array_equal(features(1).features, w)
    assert not np.allclose(features(2).features, w)
    assert features(1, "bfloat16").features.dtype == "float32"


def test_large_activations_stay_finite_in_half_precision():
    layer = t2t.TokenPerformer(16, dtype="mixed_float16")
    x = 4 * random(2, 4, 4, 12)
    layer.build(x.shape)
    layer.qkv.kernel.assign(0.7 * random(12, 48, seed=3))
    y = layer(x)
    assert y.dtype == "float16"
    assert np.isfinite(numpy(y)).all()


# Transformer ---------------------------------------------------------------------------------------------------------


def test_token_transformer_scales_by_its_input_and_skips_from_v():
    layer = t2t.TokenTransformer(6)
    x = random(2, 3, 4, 20)
    layer.build(x.shape)
    layer.set_weights([0.3 * random(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    q, k, v = np.split(numpy(layer.qkv(layer.norm1(x.reshape(2, 12, 20)))), 3, axis=-1)
    exponentials = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(20))
    attended = exponentials / exponentials.sum(axis=-1, keepdims=True) @ v
    y = v + numpy(layer.proj(attended))
    expected = y + numpy(layer.mlp(layer.norm2(y)))
    np.testing.assert_allclose(numpy(layer(x)).reshape(2, 12, 6), expected, atol=1e-5)
    assert layer.qkv.bias is None


# Backbone ------------------------------------------------------------------------------------------------------------


def test_sinusoids_are_interleaved():
    table = t2t.sinusoid_table(7, 12).astype("float64")
    np.testing.assert_allclose(table[:, 0::2] ** 2 + table[:, 1::2] ** 2, 1, atol=1e-6)
    assert table[5, 4] == pytest.approx(math.sin(5 / 10000 ** (4 / 12)))
    assert table[5, 9] == pytest.approx(math.cos(5 / 10000 ** (8 / 12)))
    assert table[0].tolist() == [0, 1] * 6


def test_positions_are_the_table_and_not_trained():
    layer = t2t.SinusoidPositions()
    np.testing.assert_array_equal(layer(np.zeros((1, 7, 12), "float32"))[0], t2t.sinusoid_table(7, 12))
    assert layer.trainable_weights == [] and len(layer.weights) == 1


@pytest.mark.parametrize("toy", T2T_TOYS)
def test_every_layer_norm_has_the_published_epsilon(toy):
    variant, shape = TOYS[toy]
    found = all_layers(variant(weights=None, input_shape=shape))
    epsilons = [layer.epsilon for layer in found if isinstance(layer, layers.LayerNormalization)]
    assert len(epsilons) >= 9 and set(epsilons) == {1e-5}


def test_backbone_has_no_qkv_bias_and_rising_drop_path():
    variant, shape = TOYS["t2t"]
    model = variant(weights=None, input_shape=shape, drop_path_rate=0.2)
    blocks = [model.get_layer(f"block{i}") for i in range(2)]
    assert [block.drop_path.rate for block in blocks] == [0, 0.2]
    assert all(block.attn.qkv.bias is None and block.attn.proj.bias is not None for block in blocks)


@pytest.mark.parametrize("size", [(40, 32), (32, 100), (8, 8)])
def test_sizes_are_multiples_of_sixteen(size):
    with pytest.raises(ValueError, match="multiples of 16"):
        TOYS["t2t"][0](weights=None, input_shape=(*size, 3))


# Checkpoints ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["performer", "transformer"])
def official(request):
    """A toy variant and a file of the official layout for 32 x 32 pixels."""
    path = pathlib.Path(__file__).parents[1] / "golden" / "gradients" / f"t2t_{request.param}.npz"
    meta = json.loads(str(np.load(path)["meta"]))
    config = t2t.Config(24, 2, 3, 2, performer=request.param == "performer", token_dim=16)
    arrays = {key: seeded(key, tuple(shape)).astype("float32") for key, shape in meta["keys"].items()}
    return Variant("Toy", t2t.T2T, config), arrays


def load(official, folder, **changes):
    variant, arrays = official
    save_file(arrays, folder / "weights.safetensors")
    return variant(weights=folder / "weights.safetensors", **{"input_shape": (32, 32, 3), **LOGITS, **changes})


def test_only_the_performer_drops_out_in_training(official, tmp_path):
    model, image = load(official, tmp_path), seeded_image(0, 32, 32)
    performer = official[0].config.performer
    difference = numpy(model(image, training=True)) - numpy(model(image, training=False))
    assert (np.abs(difference).max() > 1e-3) == performer
    if performer:
        assert {model.get_layer(f"tokens{i}").drop.rate for i in (1, 2)} == {0.1}


def test_positions_move_to_another_grid_as_in_official_fine_tuning(official, tmp_path):
    stored = official[1]["pos_embed"]
    official[1]["pos_embed"][:, 1:] = np.array([[1.0], [2.0], [1.0], [2.0]])  # constant down the columns
    table = numpy(load(official, tmp_path, input_shape=(64, 64, 3)).get_layer("positions").table)
    np.testing.assert_array_equal(table[:, 0], stored[:, 0])
    grid = table[0, 1:].reshape(4, 4, 24)
    # bicubic, a = -0.75, borders repeated: from pixels at -1/4 and 1/4 of the first, mirrored
    at = [kernel_sum(-0.25), kernel_sum(0.25)]
    np.testing.assert_allclose(grid[0, :, 0], [*at, 3 - at[1], 3 - at[0]], atol=1e-6)
    np.testing.assert_allclose(grid, np.broadcast_to(grid[:1, :, :1], grid.shape), atol=1e-6)


def kernel_sum(x, a=-0.75):
    """The line ... 1 1 2 2 ..., whose step is between 0 and 1, interpolated at x by Keys' kernel."""

    def keys(t):
        t = abs(t)
        return (a + 2) * t**3 - (a + 3) * t**2 + 1 if t <= 1 else a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0

    return sum(keys(x - i) * (1 if i <= 0 else 2) for i in range(-3, 4))


def test_a_grey_image_needs_one_channel(official, tmp_path):
    arrays = official[1]
    for name in ("weight", "bias"):  # exact where the norm treats the channels alike
        key = f"tokens_to_token.attention1.norm1.{name}"
        arrays[key] = np.tile(arrays[key][:49], 3)
    grey = seeded_image(0, 32, 32, 1)
    one = load(official, tmp_path, input_shape=(32, 32, 1))(grey)
    np.testing.assert_allclose(one, load(official, tmp_path)(np.repeat(grey, 3, axis=-1)), atol=1e-4)


def test_six_channels_repeat_the_three(official, tmp_path):
    image = seeded_image(0, 32, 32, 3)
    six = load(official, tmp_path, input_shape=(32, 32, 6))(np.concatenate([image, image], axis=-1))
    np.testing.assert_allclose(six, load(official, tmp_path)(image), atol=1e-4)


def test_the_head_of_token_labelling_is_left_out(official, tmp_path):
    image = seeded_image(0, 32, 32)
    expected = load(official, tmp_path)(image)
    official[1].update({"aux_head.weight": random(5, 24), "aux_head.bias": random(5)})
    np.testing.assert_array_equal(load(official, tmp_path)(image), expected)


def test_the_other_module_is_refused(official, tmp_path):
    variant, arrays = official
    config = t2t.Config(24, 2, 3, 2, performer=not variant.config.performer, token_dim=16)
    with pytest.raises(ValueError, match="not the weights of this model"):
        load((Variant("Toy", t2t.T2T, config), arrays), tmp_path)


def test_another_width_of_the_module_is_refused(official, tmp_path):
    variant, arrays = official
    config = t2t.Config(24, 2, 3, 2, performer=variant.config.performer, token_dim=8)
    with pytest.raises(ValueError, match="do not fit"):
        load((Variant("Toy", t2t.T2T, config), arrays), tmp_path)
