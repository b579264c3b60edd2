"""The hybrid's ResNet against brute force, its epsilons, its padding, and Google's file layout."""

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import save_file

from keras_vit.layers import EncoderBlock
from keras_vit.models import hybrid, vit
from keras_vit.models.family import Variant

SHAPE = (64, 96, 3)
TOY = Variant("ToyHybrid", hybrid.HYBRID, hybrid.Config((1, 2), vit.Config(24, 2, 3, 1)), 0)
STEM_ONLY = Variant("ToyStem", hybrid.HYBRID, hybrid.Config((), vit.Config(24, 2, 3, 8)), 0)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def same_padding(size, kernel, stride):
    """TensorFlow's: what the last window lacks, the odd one at the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def windows(x, kernel, stride, fill):
    """(B, H, W, C) -> list of (i, j, window)."""
    pads = [same_padding(size, kernel, stride) for size in x.shape[1:3]]
    x = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    for i in range((x.shape[1] - kernel) // stride + 1):
        for j in range((x.shape[2] - kernel) // stride + 1):
            yield i, j, x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]


def brute_force_conv(x, kernel, stride):
    flat = kernel.reshape(-1, kernel.shape[-1]).astype("float64")
    flat = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-8)
    y = {(i, j): w.reshape(len(x), -1) @ flat for i, j, w in windows(x, len(kernel), stride, 0)}
    H, W = (-(-size // stride) for size in x.shape[1:3])
    return np.stack([np.stack([y[i, j] for j in range(W)], 1) for i in range(H)], 1)


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 5)], ids=str)
@pytest.mark.parametrize("kernel_size, stride", [(1, 1), (3, 1), (3, 2), (7, 2), (1, 2)])
def test_standardised_convolution_against_loops(size, kernel_size, stride):
    layer, x = hybrid.StdConv2D(6, kernel_size, stride), random(2, *size, 5)
    layer.build(x.shape)
    layer.kernel.assign(random(kernel_size, kernel_size, 5, 6, seed=1) * 0.1 + 0.3)
    expected = brute_force_conv(x, ops.convert_to_numpy(layer.kernel), stride)
    assert layer.compute_output_shape((None, *x.shape[1:])) == (None, *expected.shape[1:])
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)


def test_epsilon_of_the_standardisation_is_1e_8_within_the_root():
    layer, x = hybrid.StdConv2D(1, 1), np.array([[[[1.0, 0.0]]]], "float32")
    layer.build(x.shape)
    layer.kernel.assign(np.array([1e-4, -1e-4]).reshape(1, 1, 2, 1))  # variance 1e-8
    np.testing.assert_allclose(layer(x), [[[[np.sqrt(0.5)]]]], rtol=1e-4)


def test_kernels_are_standardised_in_float32_under_bfloat16():
    layer, x = hybrid.StdConv2D(4, 3, dtype="mixed_bfloat16"), random(1, 6, 6, 8)
    layer.build(x.shape)
    layer.kernel.assign(10 + 0.01 * random(3, 3, 8, 4, seed=1))  # bfloat16 sees steps of 1/16 here
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    expected = brute_force_conv(x, ops.convert_to_numpy(layer.kernel), 1)
    np.testing.assert_allclose(ops.cast(y, "float32"), expected, atol=0.05 * expected.std())


@pytest.mark.parametrize("channels", [32, 96])
def test_group_norm_against_its_definition_and_keras(channels):
    layer, x = hybrid.GroupNorm(), 3 + random(2, 5, 4, channels)
    layer.build(x.shape)
    layer.gamma.assign(random(channels, seed=1))
    layer.beta.assign(random(channels, seed=2))
    groups = x.reshape(2, 20, 32, channels // 32)
    centred = groups - groups.mean((1, 3), keepdims=True)
    expected = (centred / np.sqrt(groups.var((1, 3), keepdims=True) + 1e-5)).reshape(x.shape)
    expected = expected * ops.convert_to_numpy(layer.gamma) + ops.convert_to_numpy(layer.beta)
    np.testing.assert_allclose(layer(x), expected, atol=2e-5)
    theirs = keras.layers.GroupNormalization(32, epsilon=1e-5)
    theirs.build(x.shape)
    theirs.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(x), theirs(x), atol=2e-5)


def test_epsilon_of_the_group_norm_is_1e_5_within_the_root():
    layer, x = hybrid.GroupNorm(), np.sqrt(1e-5) * np.ones((1, 2, 1, 32), "float32")
    x[:, 1] *= -1  # variance 1e-5 in every group
    layer.build(x.shape)
    np.testing.assert_allclose(layer(x)[0, 0], np.full((1, 32), np.sqrt(0.5)), rtol=1e-4)


def test_group_norm_needs_whole_groups():
    with pytest.raises(ValueError, match="multiple of 32 channels. Received: 48"):
        hybrid.GroupNorm().build((None, 4, 4, 48))


def test_every_group_norm_and_layer_norm_has_its_epsilon():
    model = build(TOY)
    assert (hybrid.GROUPS, hybrid.GROUP_EPSILON, hybrid.KERNEL_EPSILON) == (32, 1e-5, 1e-8)
    blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
    norms = [
        model.get_layer("norm"),
        *(norm for block in blocks for norm in (block.norm1, block.norm2)),
    ]
    assert [norm.epsilon for norm in norms] == [1e-6] * 5


def bottleneck(**arguments):
    layer = hybrid.Bottleneck(128, **arguments)
    layer.build((None, 6, 7, 128))
    return layer


def test_bottleneck_adds_its_shortcut_before_the_last_relu():
    layer, x = bottleneck(), random(2, 6, 7, 128)
    layer.norm3.gamma.assign(np.zeros(128))
    np.testing.assert_allclose(layer(x), np.maximum(x, 0), atol=1e-6)
    layer.norm3.beta.assign(np.full(128, 0.5))
    np.testing.assert_allclose(layer(x), np.maximum(x + 0.5, 0), atol=1e-6)


@pytest.mark.parametrize("strides", [1, 2])
def test_projected_shortcut_is_normalised_and_not_activated(strides):
    layer, x = bottleneck(strides=strides, project=True), random(2, 6, 7, 128)
    layer.norm3.gamma.assign(np.zeros(128))
    layer.norm3.beta.assign(np.full(128, 0.5))
    shortcut = ops.convert_to_numpy(layer.proj_norm(layer.proj_conv(x)))
    assert shortcut.min() < -1  # a ReLU there would show
    np.testing.assert_allclose(layer(x), np.maximum(shortcut + 0.5, 0), atol=1e-5)
    assert layer(x).shape == layer.compute_output_shape(x.shape) == (2, 6 // strides, -(-7 // strides), 128)


def test_bottleneck_is_three_convolutions_with_two_relus_between():
    layer, x = bottleneck(strides=2, project=True), random(1, 6, 7, 128)
    assert (layer.conv1.strides, layer.conv2.strides, layer.conv3.strides) == (1, 2, 1)
    assert (layer.conv1.kernel_size, layer.conv2.kernel_size, layer.conv3.kernel_size) == (1, 3, 1)
    assert (layer.conv1.filters, layer.conv2.filters, layer.conv3.filters) == (32, 32, 128)
    y = x
    for i in (1, 2, 3):
        conv = getattr(layer, f"conv{i}")
        y = brute_force_conv(y, ops.convert_to_numpy(conv.kernel), conv.strides)
        groups = y.reshape(1, -1, 32, y.shape[-1] // 32)
        groups = (groups - groups.mean((1, 3), keepdims=True)) / np.sqrt(groups.var((1, 3), keepdims=True) + 1e-5)
        y = groups.reshape(y.shape) if i == 3 else np.maximum(groups.reshape(y.shape), 0)
    shortcut = ops.convert_to_numpy(layer.proj_norm(layer.proj_conv(x)))
    np.testing.assert_allclose(layer(x), np.maximum(y + shortcut, 0), atol=2e-4)


def build(variant=TOY, **arguments):
    given = {"weights": None, "input_shape": SHAPE, "classes": 5, "classifier_activation": None}
    model = variant(**{**given, **arguments})
    for i, variable in enumerate(model.trainable_variables):
        variable.assign(ops.convert_to_numpy(variable) + 0.2 * random(*variable.shape, seed=i))
    return model


def test_stem_pool_pads_at_the_end_and_never_wins():
    pool = build().get_layer("stem_pool")
    x = -1 - np.abs(random(1, 6, 7, 2))  # zeros in the padding would be the largest
    expected = {(i, j): w.max((1, 2)) for i, j, w in windows(x, 3, 2, -np.inf)}
    y = ops.convert_to_numpy(pool(x))
    assert y.shape == (1, 3, 4, 2)
    for (i, j), value in expected.items():
        np.testing.assert_array_equal(y[:, i, j], value)


@pytest.mark.parametrize("name, grid, channels", [("ViTRTi16", 7, 64), ("ViTR26S32", 7, 2048), ("ViTR50B16", 14, 1024)])
def test_grids_of_the_published_models(name, grid, channels):
    variant = getattr(hybrid, name)
    with keras.StatelessScope(initialize_variables=False):
        model = variant(weights=None, input_shape=(224, 224, 3))
    embed = model.get_layer("patch_embed")
    assert embed.output.shape[1:3] == (grid, grid)
    assert embed.input.shape[-1] == channels
    assert 224 // variant.config.stride == grid
    units = [layer.name for layer in model.layers if "_unit" in layer.name]
    assert len(units) == sum(variant.config.depths)


def test_sizes_must_be_whole_patches():
    with pytest.raises(ValueError, match="multiples of 32.*Received: 64 x 80"):
        build(STEM_ONLY, input_shape=(64, 80, 3))


def test_a_patch_of_one_pixel_of_the_map_takes_any_size():
    assert build(input_shape=(61, 100, 3)).get_layer("patch_embed").output.shape[1:3] == (8, 13)


def test_training_differs_from_inference_only_by_drop_path():
    model, images = build(), random(2, *SHAPE)
    np.testing.assert_allclose(model(images, training=True), model(images, training=False), atol=1e-5)
    model = build(drop_path_rate=0.5)
    assert not np.allclose(model(images, training=True), model(images, training=False), atol=1e-3)


# Google's files ------------------------------------------------------------------------------------------------------


def flax_name(path):
    """The name of a variable in Google's files, written out by hand."""
    *layer, leaf = path.split("/")
    leaf = {"gamma": "scale", "beta": "bias"}.get(leaf, leaf)
    top, part = layer[0], "/".join(layer[1:])
    fixed = {
        "stem_conv/kernel": "conv_root/kernel",
        "class_token/token": "cls",
        "positions/table": "Transformer/posembed_input/pos_embedding",
    }
    if path in fixed:
        return fixed[path]
    tops = {"stem_norm": "gn_root", "patch_embed": "embedding", "norm": "Transformer/encoder_norm"}
    if top.startswith("stage"):
        stage, unit = top.removeprefix("stage").split("_unit")
        part = part.replace("proj_norm", "gn_proj").replace("proj_conv", "conv_proj").replace("norm", "gn")
        return f"block{int(stage) + 1}/unit{int(unit) + 1}/{part}/{leaf}"
    if top.startswith("block"):
        parts = {
            "norm1": "LayerNorm_0",
            "attn/proj": "MultiHeadDotProductAttention_1/out",
            "norm2": "LayerNorm_2",
            "mlp/fc1": "MlpBlock_3/Dense_0",
            "mlp/fc2": "MlpBlock_3/Dense_1",
        }
        return f"Transformer/encoderblock_{top.removeprefix('block')}/{parts[part]}/{leaf}"
    return f"{tops.get(top, top)}/{leaf}"


def flax_file(model, root="", heads=3):
    """A model's weights as Google keeps them: q, k, v apart with a head axis, group norms of shape (1, 1, 1, C)."""
    arrays = {}
    for variable in model.weights:
        value = ops.convert_to_numpy(variable)
        if "attn/qkv" in variable.path:
            block = f"Transformer/encoderblock_{variable.path.split('/')[0].removeprefix('block')}"
            for name, array in zip(("query", "key", "value"), np.split(value, 3, axis=-1)):
                array = array.reshape(*array.shape[:-1], heads, -1)
                arrays[f"{block}/MultiHeadDotProductAttention_1/{name}/{variable.name}"] = array
            continue
        name = flax_name(variable.path)
        if "gn" in name:
            value = value.reshape(1, 1, 1, -1)
        if name.endswith("out/kernel"):
            value = value.reshape(heads, -1, value.shape[-1])
        arrays[name] = value
    return {root + name: value for name, value in arrays.items()}


@pytest.mark.parametrize("root", ["", "opt/target/"])
@pytest.mark.parametrize("variant", [TOY, STEM_ONLY], ids=repr)
def test_google_layout_loads(variant, root, tmp_path):
    model = build(variant)
    np.savez(tmp_path / "google.npz", **flax_file(model, root))
    again = build_from(variant, tmp_path / "google.npz")
    np.testing.assert_array_equal(again(random(2, *SHAPE)), model(random(2, *SHAPE)))


def build_from(variant, path, **arguments):
    given = {"input_shape": SHAPE, "classes": 5, "classifier_activation": None}
    return variant(weights=path, **{**given, **arguments})


def test_google_layout_with_pre_logits_keeps_them_with_its_own_classes_only(tmp_path):
    config = hybrid.Config((1,), vit.Config(24, 1, 3, 2, pre_logits=True))
    model = build(Variant("ToyOriginal", hybrid.HYBRID, config, 0))
    np.savez(tmp_path / "google.npz", **flax_file(model))
    plain = Variant("ToyOriginal", hybrid.HYBRID, hybrid.Config((1,), vit.Config(24, 1, 3, 2)), 0)
    kept = build_from(plain, tmp_path / "google.npz")
    np.testing.assert_array_equal(kept(random(2, *SHAPE)), model(random(2, *SHAPE)))
    new = build_from(plain, tmp_path / "google.npz", classes=7)
    assert "pre_logits" not in {layer.name for layer in new.layers}


def test_positions_of_google_files_move_linearly_and_others_cubically(tmp_path):
    model = build(input_shape=(64, 64, 3))
    np.savez(tmp_path / "google.npz", **flax_file(model))
    save_file({v.path: ops.convert_to_numpy(v) for v in model.weights}, tmp_path / "own.safetensors")
    tables = [
        ops.convert_to_numpy(build_from(TOY, tmp_path / name).get_layer("positions").table)
        for name in ("google.npz", "own.safetensors")
    ]
    old = ops.convert_to_numpy(model.get_layer("positions").table)
    for table in tables:
        assert table.shape == (1, 1 + 8 * 12, 24)
        np.testing.assert_array_equal(table[:, :1], old[:, :1])
    linear = tables[0][0, 1:].reshape(8, 12, 24)
    source = old[0, 1:].reshape(8, 8, 24)
    np.testing.assert_allclose(linear[:, 1], (source[:, 0] + source[:, 1]) / 2, atol=1e-6)  # at (1.5 * 8/12) - 0.5
    assert np.abs(tables[0] - tables[1]).max() > 0.01


@pytest.mark.parametrize("channels", [1, 4])
def test_the_stem_takes_other_channels(channels, tmp_path):
    model = build()
    save_file({v.path: ops.convert_to_numpy(v) for v in model.weights}, tmp_path / "own.safetensors")
    again = build_from(TOY, tmp_path / "own.safetensors", input_shape=(64, 96, channels))
    old, new = (ops.convert_to_numpy(m.get_layer("stem_conv").kernel) for m in (model, again))
    expected = old.sum(2, keepdims=True) if channels == 1 else old[:, :, [0, 1, 2, 0]] * 3 / 4
    np.testing.assert_allclose(new, expected, rtol=1e-6)
