"""PVT v2: overlapping patches, the convolution of the MLP, adaptive pooling, and both layouts' names."""

import math

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_vit.analysis.pyramid import feature_pyramid
from keras_vit.models import pvt_v2
from keras_vit.models.family import Variant
from keras_vit.system.keras_private import all_layers
from tests.golden.seeded import seeded, seeded_image

DIMS, DEPTHS, RATIOS = (12, 18), (1, 2), (2, 3)
TOY = Variant("ToyPVTV2", pvt_v2.PVT_V2, pvt_v2.Config(DEPTHS, DIMS, (1, 3), RATIOS, (2, 1)))
TOY_LINEAR = Variant("ToyLinear", pvt_v2.PVT_V2, pvt_v2.Config(DEPTHS, DIMS, (1, 3), RATIOS, None))
LOGITS = {"classes": 5, "classifier_activation": None}


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def built(layer, x):
    layer(x)
    for i, variable in enumerate(layer.weights):
        variable.assign(normal(*variable.shape, seed=i) / 3)
    return layer


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


# Layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height, width", [(7, 14), (3, 5), (10, 23), (1, 8)])
def test_adaptive_pooling_is_the_mean_of_each_span(height, width):
    x, pooled = normal(2, height, width, 3), np.zeros((2, 7, 7, 3))
    for i in range(7):
        for j in range(7):
            rows = slice(math.floor(i * height / 7), math.ceil((i + 1) * height / 7))
            columns = slice(math.floor(j * width / 7), math.ceil((j + 1) * width / 7))
            pooled[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    np.testing.assert_allclose(pvt_v2.adaptive_average_pool(x, 7), pooled, atol=1e-6)


@pytest.mark.parametrize("relu", [False, True])
def test_mlp_convolves_between_its_projections(relu):
    x = normal(2, 4, 5, 6)
    mlp = built(pvt_v2.ConvMLP(8, relu), x)
    hidden = x @ numpy(mlp.fc1.kernel) + numpy(mlp.fc1.bias)
    padded = np.pad(np.maximum(hidden, 0) if relu else hidden, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel, convolved = numpy(mlp.dwconv.kernel)[..., 0], np.zeros_like(hidden) + numpy(mlp.dwconv.bias)
    for i in range(3):
        for j in range(3):
            convolved += kernel[i, j] * padded[:, i : i + 4, j : j + 5]
    expected = gelu(convolved) @ numpy(mlp.fc2.kernel) + numpy(mlp.fc2.bias)
    np.testing.assert_allclose(mlp(x), expected, atol=1e-5)


def test_linear_attention_reads_49_keys_whatever_the_map():
    x = normal(1, 9, 16, 6)
    layer = built(pvt_v2.LinearSpatialReductionAttention(3), x)
    y = numpy(pvt_v2.adaptive_average_pool(x, 7)).reshape(49, 6) @ numpy(layer.sr.kernel)[0, 0] + numpy(layer.sr.bias)
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    y = gelu(y * numpy(layer.norm.gamma) + numpy(layer.norm.beta))
    kv = y @ numpy(layer.kv.kernel) + numpy(layer.kv.bias)
    q = x.reshape(-1, 6) @ numpy(layer.q.kernel) + numpy(layer.q.bias)
    heads = []
    for head in range(3):
        part = slice(2 * head, 2 * head + 2)
        weights = np.exp(q[:, part] @ kv[:, :6][:, part].T / np.sqrt(2))
        heads.append(weights / weights.sum(-1, keepdims=True) @ kv[:, 6:][:, part])
    expected = np.concatenate(heads, -1) @ numpy(layer.proj.kernel) + numpy(layer.proj.bias)
    np.testing.assert_allclose(numpy(layer(x)).reshape(-1, 6), expected, atol=1e-4)


def test_linear_attention_names_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="num_heads must divide the 6 channels. Received: num_heads=4"):
        pvt_v2.LinearSpatialReductionAttention(4).build((None, 7, 7, 6))


@pytest.mark.parametrize("kernel, stride", [(7, 4), (3, 2)])
@pytest.mark.parametrize("height, width", [(16, 24), (13, 18)])
def test_patches_overlap_alike_on_all_sides(kernel, stride, height, width):
    image = keras.Input((height, width, 2))
    model = keras.Model(image, pvt_v2.overlapping_patches(image, 5, kernel, stride, "patch"))
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    assert model.output.shape == (None, rows, columns, 5)
    assert model.get_layer("patch_norm").epsilon == 1e-5
    x, half, embed = (normal(1, height, width, 2), kernel // 2, model.get_layer("patch_embed"))
    embed.bias.assign(normal(5))
    padded = np.pad(x[0], ((half, half), (half, half), (0, 0)))
    y = np.zeros((rows, columns, 5))
    for i in range(rows):
        for j in range(columns):
            square = padded[stride * i : stride * i + kernel, stride * j : stride * j + kernel]
            y[i, j] = np.einsum("abc,abco->o", square, numpy(embed.kernel)) + numpy(embed.bias)
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(model(x)[0], y, atol=1e-4)


def test_the_convolution_of_a_new_mlp_keeps_its_signal():
    x = normal(4, 16, 16, 32)
    mlp = pvt_v2.ConvMLP(512)
    mlp.build(x.shape)
    hidden = numpy(mlp.dwconv(normal(4, 16, 16, 512)))
    assert 1.0 < hidden.std() < 1.8  # sqrt(2), less at the borders


@pytest.mark.parametrize("reduction", [1, 2, None])
def test_branches_are_dropped_for_whole_samples(reduction):
    block, x = pvt_v2.PVTV2Block(3, 2.0, reduction, drop_path_rate=0.5), normal(16, 4, 6, 12)
    block(x)
    block.mlp.fc2.kernel.assign(0 * block.mlp.fc2.kernel)
    kept = 2 * (numpy(block(x)) - x)
    moved = numpy(block(x, training=True)) - x
    dropped = np.array([not sample.any() for sample in moved])
    assert 0 < dropped.sum() < 16
    np.testing.assert_allclose(moved[~dropped], kept[~dropped], atol=1e-5)


# Models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [TOY, TOY_LINEAR])
def test_epsilons(variant):
    model = variant(weights=None, input_shape=(36, 45, 3))
    norms = {n.path: n.epsilon for n in all_layers(model) if isinstance(n, keras.layers.LayerNormalization)}
    coarse = {path for path in norms if path.endswith(("_patch_norm", "attn/norm"))}
    assert len(coarse) == 2 + (1 if variant is TOY else 3)
    assert {path for path, epsilon in norms.items() if epsilon == 1e-5} == coarse
    assert {norms[path] for path in set(norms) - coarse} == {1e-6}


def test_any_size_runs_down_to_the_reductions():
    outputs = TOY(weights=None, input_shape=(37, 50, 3), include_top=False).output.shape
    assert outputs == (None, 5, 7, 18)
    with pytest.raises(ValueError, match="PVT v2 needs at least 8 x 8 pixels. Received: 8 x 7"):
        TOY(weights=None, input_shape=(8, 7, 3))
    with pytest.raises(ValueError, match="PVT v2 needs at least 32 x 32 pixels. Received: 32 x 31"):
        pvt_v2.PVTV2B0(weights=None, input_shape=(32, 31, 3))
    tiny = TOY_LINEAR(weights=None, input_shape=(5, 3, 3), **LOGITS)
    assert np.isfinite(numpy(tiny(seeded_image(0, 5, 3)))).all()


@pytest.mark.parametrize("variant", [TOY, TOY_LINEAR])
def test_pyramid_levels_carry_the_norm_of_their_stage(variant):
    model = variant(weights=None, input_shape=(36, 45, 3), include_top=False)
    pyramid = feature_pyramid(model)
    assert {name: x.shape[1:] for name, x in pyramid.pyramid_outputs.items()} == {"P2": (9, 12, 12), "P3": (5, 6, 18)}
    x = seeded_image(0, 36, 45)
    np.testing.assert_array_equal(numpy(pyramid(x)["P3"]), numpy(model(x)))


def test_there_is_no_class_token_to_pool():
    with pytest.raises(ValueError, match="needs a class token, which this family does not have"):
        TOY(weights=None, input_shape=(36, 45, 3), include_top=False, pooling="token")


# Checkpoints -----------------------------------------------------------------------------------------------------


def norm_shapes(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear_shapes(name, outputs, *inputs):
    return {f"{name}.weight": (outputs, *inputs), f"{name}.bias": (outputs,)}


def block_shapes(block, C, ratio, kernel, dwconv):
    shapes = norm_shapes(f"{block}.norm1", C) | norm_shapes(f"{block}.norm2", C)
    shapes |= linear_shapes(f"{block}.attn.q", C, C) | linear_shapes(f"{block}.attn.kv", 2 * C, C)
    shapes |= linear_shapes(f"{block}.attn.proj", C, C)
    shapes |= linear_shapes(f"{block}.mlp.fc1", ratio * C, C) | linear_shapes(f"{block}.mlp.fc2", C, ratio * C)
    shapes |= linear_shapes(f"{block}.mlp.{dwconv}", ratio * C, 1, 3, 3)
    if kernel:
        shapes |= linear_shapes(f"{block}.attn.sr", C, C, kernel, kernel) | norm_shapes(f"{block}.attn.norm", C)
    return shapes


def shapes_of(layout, kernels):
    """Names and shapes of a file; `kernels`: of the reduction in either stage, None without one."""
    timm, shapes = layout == "timm", {}
    for s, (C, depth) in enumerate(zip(DIMS, DEPTHS)):
        patches = ("patch_embed" if s == 0 else f"stages.{s}.downsample") if timm else f"patch_embed{s + 1}"
        kernel = 7 if s == 0 else 3
        shapes |= linear_shapes(f"{patches}.proj", C, DIMS[s - 1] if s else 3, kernel, kernel)
        shapes |= norm_shapes(f"{patches}.norm", C)
        for b in range(depth):
            block = f"stages.{s}.blocks.{b}" if timm else f"block{s + 1}.{b}"
            shapes |= block_shapes(block, C, RATIOS[s], kernels[s], "dwconv" if timm else "dwconv.dwconv")
        shapes |= norm_shapes(f"stages.{s}.norm" if timm else f"norm{s + 1}", C)
    return shapes | linear_shapes("head", 5, DIMS[-1])


@pytest.mark.parametrize("variant, kernels", [(TOY, (2, None)), (TOY_LINEAR, (1, 1))])
def test_both_layouts_are_one_model(variant, kernels, tmp_path):
    timm, official = shapes_of("timm", kernels), shapes_of("official", kernels)
    arrays = [seeded(key, shape).astype("float32") for key, shape in timm.items()]
    logits = []
    for layout, names in (("timm", timm), ("official", official)):
        path = tmp_path / f"{layout}.safetensors"
        save_file(dict(zip(names, arrays)), path)
        model = variant(weights=path, input_shape=(36, 45, 3), **LOGITS)
        logits.append(numpy(model(seeded_image(0, 36, 45))))
    assert np.isfinite(logits[0]).all() and logits[0].std() > 0.1
    np.testing.assert_array_equal(*logits)
