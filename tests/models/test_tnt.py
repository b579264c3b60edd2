"""TNT: two orders of cutting and convolving, two streams, two file layouts and their names."""

import math

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_vit.analysis.pyramid import feature_pyramid
from keras_vit.models import tnt
from keras_vit.models.family import Variant
from keras_vit.system.keras_private import all_layers
from tests.golden.seeded import seeded, seeded_image

D, C, P, DEPTH = 24, 6, 8, 2
M = (P // 4) ** 2  # pixels per patch
TOY = Variant("ToyTNT", tnt.TNT, tnt.Config(D, DEPTH, 3, C, 2, P))
TOY_LEGACY = Variant("ToyLegacy", tnt.TNT, tnt.Config(D, DEPTH, 3, C, 2, P, legacy=True))
LOGITS = {"classes": 5, "classifier_activation": None}


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def randomize(layer):
    for i, variable in enumerate(layer.weights):
        variable.assign(normal(*variable.shape, seed=i) / 3)
    return layer


def layer_norm(x, layer):
    spread = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - x.mean(-1, keepdims=True)) / spread * numpy(layer.gamma) + numpy(layer.beta)


def convolution(image, layer):
    """7 x 7, stride 4, three zeros around: a loop over the output.  (H, W, I) -> (H/4, W/4, O)."""
    padded = np.pad(image, ((3, 3), (3, 3), (0, 0)))
    kernel, bias = numpy(layer.proj.kernel), numpy(layer.proj.bias)
    rows, columns = image.shape[0] // 4, image.shape[1] // 4
    out = np.zeros((rows, columns, len(bias)))
    for i in range(rows):
        for j in range(columns):
            out[i, j] = np.einsum("abc,abco->o", padded[4 * i : 4 * i + 7, 4 * j : 4 * j + 7], kernel) + bias
    return out


def test_pixels_are_convolved_patch_by_patch():
    layer, images = tnt.PixelEmbed(C, P), normal(2, 16, 24, 3)
    pixels = numpy(randomize_built(layer, images)(images))
    assert pixels.shape == (2 * 6, M, C)
    patches = [images[b, P * i : P * i + P, P * j : P * j + P] for b in range(2) for i in range(2) for j in range(3)]
    expected = [convolution(patch, layer).reshape(M, C) for patch in patches]
    np.testing.assert_allclose(pixels, expected, atol=1e-4)


def test_legacy_pixels_are_convolved_across_patches():
    layer, images = tnt.LegacyPixelEmbed(C, P), normal(2, 16, 24, 3)
    pixels = numpy(randomize_built(layer, images)(images))
    maps = [convolution(image, layer) for image in images]
    expected = [m[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(M, C) for m in maps for i in range(2) for j in range(3)]
    np.testing.assert_allclose(pixels, expected, atol=1e-4)


def randomize_built(layer, *inputs):
    layer(*inputs)
    return randomize(layer)


@pytest.mark.parametrize("layer, reach", [(tnt.PixelEmbed, 1), (tnt.LegacyPixelEmbed, 4)])
def test_only_legacy_patches_see_their_neighbours(layer, reach):
    embed, images = layer(C, P), normal(1, 16, 16, 3)
    before = numpy(randomize_built(embed, images)(images))
    images[:, :P, :P] += 1.0
    changed = np.abs(numpy(embed(images)) - before).max(axis=(1, 2)) > 1e-6
    assert changed[0] and changed.sum() == reach


@pytest.mark.parametrize("grid", [(2, 3), (6,)])
def test_pixels_of_a_patch_become_its_token(grid):
    layer, pixels = tnt.PixelsToPatches(D, grid), normal(12, M, C)
    tokens = numpy(randomize_built(layer, pixels)(pixels))
    flat = layer_norm(pixels.reshape(12, M * C), layer.norm1)  # pixel by pixel, channels within
    expected = layer_norm(flat @ numpy(layer.proj.kernel) + numpy(layer.proj.bias), layer.norm2)
    np.testing.assert_allclose(tokens, expected.reshape(2, *grid, D), atol=1e-4)


def test_legacy_pixels_are_normalised_one_by_one():
    layer, pixels = tnt.LegacyPixelsToPatches(D), normal(12, M, C)
    layer.build(pixels.shape)
    tokens = numpy(randomize(layer)(pixels, grid=(6,)))
    flat = layer_norm(pixels, layer.norm1).reshape(12, M * C)
    expected = flat @ numpy(layer.proj.kernel) + numpy(layer.proj.bias)
    np.testing.assert_allclose(tokens, expected.reshape(2, 6, D), atol=1e-4)


def silence(block):
    """Makes the branches of an encoder block zero."""
    for dense in (block.attn.proj, block.mlp.fc2):
        dense.kernel.assign(0 * dense.kernel)
        dense.bias.assign(0 * dense.bias)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_block_adds_pixels_to_patches_but_not_to_the_class_token(legacy):
    x, pixels = normal(2, 7, D), normal(12, M, C, seed=1)
    block = randomize_built(tnt.TNTBlock(3, 2, 2.0, legacy=legacy), x, pixels)
    silence(block.inner)
    silence(block.outer)
    out, out_pixels = (numpy(t) for t in block(x, pixels))
    np.testing.assert_array_equal(out_pixels, pixels)
    np.testing.assert_array_equal(out[:, 0], x[:, 0])
    np.testing.assert_allclose(out[:, 1:], x[:, 1:] + numpy(block.inject(pixels, grid=(6,))), atol=1e-5)


def test_a_block_injects_the_pixels_after_their_transformer():
    x, pixels = normal(1, 7, D), normal(6, M, C, seed=1)
    block = randomize_built(tnt.TNTBlock(3, 2), x, pixels)
    out, out_pixels = block(x, pixels)
    np.testing.assert_allclose(out_pixels, block.inner(pixels), atol=1e-5)
    tokens = x + np.pad(numpy(block.inject(out_pixels, grid=(6,))), ((0, 0), (1, 0), (0, 0)))
    np.testing.assert_allclose(out, block.outer(tokens), atol=1e-4)


def test_both_shapes_of_a_block_are_stated():
    block = tnt.TNTBlock(3, 2)
    assert block.compute_output_shape((None, 7, D), (None, M, C)) == ((None, 7, D), (None, M, C))
    out, pixels = tnt.TNTBlock(3, 2)(keras.Input((7, D)), keras.Input((M, C)))
    assert out.shape == (None, 7, D) and pixels.shape == (None, M, C)


def test_the_inner_branches_are_dropped_for_whole_patches():
    pixels = normal(64, M, C)
    block = randomize_built(tnt.TNTBlock(3, 2, drop_path_rate=0.5), normal(8, 9, D), pixels)
    for part in (block.inner.mlp.fc2.kernel, block.inner.mlp.fc2.bias):
        part.assign(0 * part)
    kept = 2 * (numpy(block.inner(pixels)) - pixels)
    moved = numpy(block(normal(8, 9, D), pixels, training=True)[1]) - pixels
    dropped = np.array([not patch.any() for patch in moved])
    assert 0 < dropped.sum() < 64
    np.testing.assert_allclose(moved[~dropped], kept[~dropped], atol=1e-4)


def test_epsilons_and_the_exact_gelu():
    for variant in (TOY, TOY_LEGACY):
        model = variant(weights=None, input_shape=(40, 48, 3))
        norms = [n for n in all_layers(model) if isinstance(n, keras.layers.LayerNormalization)]
        assert len(norms) == 3 + DEPTH * (5 if variant is TOY_LEGACY else 6)
        assert {n.epsilon for n in norms} == {1e-5}
    for mlp in (model.get_layer("block0").inner.mlp, model.get_layer("block1").outer.mlp):
        width = mlp.fc2.kernel.shape[1]
        mlp.fc1.kernel.assign(0 * mlp.fc1.kernel)
        mlp.fc1.bias.assign(np.linspace(-3, 3, mlp.hidden_dim))
        mlp.fc2.kernel.assign(np.eye(mlp.hidden_dim, width))
        expected = [v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in np.linspace(-3, 3, mlp.hidden_dim)[:width]]
        np.testing.assert_allclose(numpy(mlp(np.zeros((1, 1, width), "float32")))[0, 0], expected, atol=1e-6)


# Checkpoints -----------------------------------------------------------------------------------------------------


def encoder_shapes(source, names, width):
    norm1, attn, norm2, mlp = (f"{source}.{name}" for name in names)
    return {
        **{f"{n}.{part}": (width,) for n in (norm1, norm2) for part in ("weight", "bias")},
        **{f"{attn}.qk.weight": (2 * width, width), f"{attn}.v.weight": (width, width)},
        **{f"{attn}.proj.weight": (width, width), f"{attn}.proj.bias": (width,)},
        **{f"{mlp}.fc1.weight": (4 * width, width), f"{mlp}.fc1.bias": (4 * width,)},
        **{f"{mlp}.fc2.weight": (width, 4 * width), f"{mlp}.fc2.bias": (width,)},
    }


def timm_entries(legacy=False, grid=25):
    """The names and shapes of a timm file, with synthetic values."""
    shapes = {"cls_token": (1, 1, D), "patch_pos": (1, 1 + grid, D), "pixel_pos": (1, C, P // 4, P // 4)}
    shapes |= {"pixel_embed.proj.weight": (C, 3, 7, 7), "pixel_embed.proj.bias": (C,)}
    shapes |= {"norm1_proj.weight": (M * C,), "norm1_proj.bias": (M * C,)}
    shapes |= {"proj.weight": (D, M * C), "proj.bias": (D,), "norm2_proj.weight": (D,), "norm2_proj.bias": (D,)}
    for i in range(DEPTH):
        block, width = f"blocks.{i}", C if legacy else M * C
        shapes |= encoder_shapes(block, ("norm_in", "attn_in", "norm_mlp_in", "mlp_in"), C)
        shapes |= {f"{block}.norm1_proj.weight": (width,), f"{block}.norm1_proj.bias": (width,)}
        shapes |= {f"{block}.proj.weight": (D, M * C)}
        last = ("proj.bias",) if legacy else ("norm2_proj.weight", "norm2_proj.bias")
        shapes |= {f"{block}.{name}": (D,) for name in last}
        shapes |= encoder_shapes(block, ("norm_out", "attn_out", "norm_mlp", "mlp"), D)
    shapes |= {"norm.weight": (D,), "norm.bias": (D,), "head.weight": (5, D), "head.bias": (5,)}
    return {key: seeded(key, shape).astype("float32") for key, shape in shapes.items()}


OFFICIAL_NAMES = {  # timm's word -> the official one, in this order
    "patch_pos": "outer_pos",
    "pixel_pos": "inner_pos",
    "pixel_embed": "patch_embed",
    "norm1_proj": "proj_norm1",
    "norm2_proj": "proj_norm2",
    "norm_mlp_in": "inner_norm2",
    "norm_in": "inner_norm1",
    "attn_in": "inner_attn",
    "mlp_in": "inner_mlp",
    "norm_out": "outer_norm1",
    "attn_out": "outer_attn",
    "norm_mlp": "outer_norm2",
    ".mlp.": ".outer_mlp.",
}


def official_entries(entries):
    renamed = {}
    for key, array in entries.items():
        for word, official in OFFICIAL_NAMES.items():
            key = key.replace(word, official)
        renamed[key] = array
    positions = renamed["inner_pos"]
    renamed["inner_pos"] = np.ascontiguousarray(positions.reshape(1, C, M).transpose(0, 2, 1))
    return renamed | {"outer_tokens": np.zeros((1, 25, D), "float32")}


def load(variant, entries, path, size=(40, 40)):
    save_file(entries, path)
    return variant(weights=path, input_shape=(*size, 3), **LOGITS)


def test_both_layouts_are_one_model(tmp_path):
    timm = load(TOY, timm_entries(), tmp_path / "timm.safetensors")
    official = load(TOY, official_entries(timm_entries()), tmp_path / "official.safetensors")
    logits = numpy(timm(seeded_image(0, 40, 40)))
    assert np.isfinite(logits).all() and logits.std() > 0.1
    np.testing.assert_array_equal(numpy(official(seeded_image(0, 40, 40))), logits)


def test_q_k_and_v_are_stacked_in_this_order(tmp_path):
    entries = timm_entries()
    model = load(TOY, entries, tmp_path / "timm.safetensors")
    kernel = numpy(model.get_layer("block1").inner.attn.qkv.kernel)
    np.testing.assert_array_equal(kernel[:, : 2 * C].T, entries["blocks.1.attn_in.qk.weight"])
    np.testing.assert_array_equal(kernel[:, 2 * C :].T, entries["blocks.1.attn_in.v.weight"])


def test_pixel_positions_go_row_by_row(tmp_path):
    entries = timm_entries()
    model = load(TOY, entries, tmp_path / "timm.safetensors")
    table = numpy(model.get_layer("pixel_positions").table)
    assert table.shape == (1, M, C)
    np.testing.assert_array_equal(table[0, 1], entries["pixel_pos"][0, :, 0, 1])
    np.testing.assert_array_equal(table[0, 2], entries["pixel_pos"][0, :, 1, 0])


def test_legacy_files_and_others_are_not_confused(tmp_path):
    legacy, current = tmp_path / "legacy.safetensors", tmp_path / "current.safetensors"
    assert np.isfinite(numpy(load(TOY_LEGACY, timm_entries(legacy=True), legacy)(seeded_image(0, 40, 40)))).all()
    save_file(timm_entries(), current)
    with pytest.raises(ValueError, match="missing: block0/inject/norm2"):
        TOY(weights=legacy, input_shape=(40, 40, 3), **LOGITS)
    with pytest.raises(ValueError, match="missing: block0/inject/proj/bias"):
        TOY_LEGACY(weights=current, input_shape=(40, 40, 3), **LOGITS)


def test_another_size_moves_the_patches_positions_alone(tmp_path):
    entries = timm_entries()
    model = load(TOY, entries, tmp_path / "timm.safetensors", size=(48, 64))
    table = numpy(model.get_layer("positions").table)
    assert table.shape == (1, 1 + 6 * 8, D)
    np.testing.assert_array_equal(table[:, 0], entries["patch_pos"][:, 0])
    pixels = entries["pixel_pos"].reshape(1, C, M).transpose(0, 2, 1)
    np.testing.assert_array_equal(numpy(model.get_layer("pixel_positions").table), pixels)


def test_features_and_pyramid():
    shape = {"weights": None, "input_shape": (48, 64, 3), "include_top": False}
    assert TOY(**shape).output.shape == (None, 6, 8, D)
    assert TOY(**shape, pooling="token").output.shape == (None, D)
    levels = feature_pyramid(TOY(**shape)).pyramid_outputs
    assert {name: x.shape[1:3] for name, x in levels.items()} == {
        "P2": (12, 16), "P3": (6, 8), "P4": (3, 4), "P5": (1, 2)
    }  # fmt: skip


def test_sizes_that_are_no_whole_patches_are_refused():
    with pytest.raises(ValueError, match="TNT needs a height and width that are multiples of 8"):
        TOY(weights=None, input_shape=(40, 44, 3))


def test_the_unpublished_tiny_model_has_the_papers_size():
    assert f"{tnt.TNTTi.parameters / 1e6:.1f}" == "6.1"  # Table 1 of the paper, the only source
