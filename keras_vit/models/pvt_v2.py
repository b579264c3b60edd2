"""Pyramid Vision Transformer v2 (PVT v2) -- Wang et al., CVMJ 2022, arXiv:2106.13797.

PVT with three changes: patches overlap (Sec. 3.3), a depthwise 3 x 3 convolution inside the MLP takes the place of
position tables (Sec. 3.4), and the linear variant pools keys and values to 7 x 7, whatever the map (Sec. 3.2). There
is no class token: the classifier reads the mean.

Letters: B batch, H W grid, N = H W tokens, C channels, h heads, R reduction ratio, K classes.

Differences between the checkpoints and this file:
- The official files number stages from 1 and keep a `dwconv` inside `dwconv`; timm's count from 0 and call the
  patches of the later stages `downsample`.
- The linear variant's published code puts a GELU after the norm of its pooled map and a ReLU before the MLP's
  convolution; the paper has neither.
"""

import itertools
import operator
from dataclasses import dataclass

import keras
import numpy as np
from keras import initializers, layers, ops

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import drop_path_rates
from keras_vit.layers.activations import check_activation
from keras_vit.layers.heads import check_heads
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.mlp import project_activated
from keras_vit.layers.sizes import sizes
from keras_vit.layers.spatial_reduction import SpatialReductionAttention, attend_to, flatten_map
from keras_vit.models.family import (
    IMAGENET,
    Family,
    Named,
    Variant,
    family_preprocess_input,
    later,
)
from keras_vit.models.pvt import PVTBlock, block_options
from keras_vit.models.sides import Sides
from keras_vit.weights.resample import input_channels
from keras_vit.weights.rules import Layout, conv, dense, depthwise, fused_dense, norm

EPSILON = 1e-6  # of the blocks' and stages' LayerNorms in the published code; the paper does not say
PATCH_EPSILON = 1e-5  # of the LayerNorms after the patch embeddings and after the reductions
POOL = 7  # side of the map of keys and values in linear SRA (Sec. 3.2)


@dataclass(frozen=True, repr=False)
class Config(Named):
    """A column of Table 1; one entry per stage."""

    depths: tuple[int, ...]  # L, blocks
    embed_dims: tuple[int, ...] = (64, 128, 320, 512)  # C
    num_heads: tuple[int, ...] = (1, 2, 5, 8)  # N in the paper
    mlp_ratios: tuple[float, ...] = (8, 8, 4, 4)  # E, hidden width of the MLP in units of C
    sr_ratios: tuple[int, ...] | None = (8, 4, 2, 1)  # R, along each side; None for linear SRA
    patch_sizes: tuple[int, ...] = later((7, 3, 3, 3))  # sides of the overlapping patches, in pixels of the map before
    strides: tuple[int, ...] = later((4, 2, 2, 2))  # between the patches
    epsilon: float = later(EPSILON)  # of the blocks' and stages' LayerNorms
    patch_epsilon: float = later(PATCH_EPSILON)  # of the LayerNorms after the patch embeddings and the reductions
    qkv_bias: bool = later(True)  # whether the projections to q, k and v have biases
    activation: str = later("gelu")  # of the MLPs, of `keras_vit.layers.activations`


def he_normal_fan_out():
    """Normal with variance 2 / fan-out, as the published code begins; 0.02 would all but silence the MLP."""
    return initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def pooling_matrix(length, bins):
    """Averages of `bins` overlapping spans of a line, as PyTorch's adaptive pooling takes them.

    Span i reaches from floor(i length / bins) to ceil((i + 1) length / bins); a line shorter than the bins repeats.

    Args:
        length: a number, or a scalar tensor.

    Returns:
        (bins, length) float32; each row sums to 1.
    """
    xp = np if isinstance(length, int) else ops
    span = xp.arange(bins, dtype="int32")[:, None]
    start, end = span * length // bins, -(-(span + 1) * length // bins)
    place = xp.arange(length, dtype="int32")
    inside = ops.logical_and(place >= start, place < end)
    return ops.cast(inside, "float32") / ops.cast(end - start, "float32")


def adaptive_average_pool(x, bins):
    """(B, H, W, C) -> (B, bins, bins, C), one product with a constant along each side."""
    H, W, C = sizes(x)
    rows = ops.cast(pooling_matrix(H, bins), x.dtype)
    columns = ops.cast(pooling_matrix(W, bins), x.dtype)
    x = ops.matmul(rows, ops.reshape(x, (-1, H, W * C)))  # B bins W*C
    x = ops.matmul(columns, ops.reshape(x, (-1, W, C)))  # B*bins bins C
    return ops.reshape(x, (-1, bins, bins, C))  # B bins bins C


@keras.saving.register_keras_serializable("keras_vit")
class LinearSpatialReductionAttention(layers.Layer):
    """Queries from every pixel, keys and values from a map pooled to 7 x 7 (Fig. 1b): linear in the number of pixels.

    Args:
        num_heads: heads h; must divide C.
        epsilon: of the norm of the pooled map.
        qkv_bias: whether the projections to q, k and v have biases.
    Input:   (B, H, W, C).      Output: (B, H, W, C).

    Raises:
        ValueError: if C is not a multiple of num_heads.
    """

    def __init__(self, num_heads, epsilon=PATCH_EPSILON, qkv_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.epsilon, self.qkv_bias = num_heads, epsilon, qkv_bias

    def build(self, shape):
        C, dtype = shape[-1], self.dtype_policy
        check_heads(self, C)
        dense = {"kernel_initializer": initial_normal(), "dtype": dtype}
        self.q = layers.Dense(C, use_bias=self.qkv_bias, name="q", **dense)
        self.kv = layers.Dense(2 * C, use_bias=self.qkv_bias, name="kv", **dense)
        self.sr = layers.Conv2D(C, 1, name="sr", **dense)
        self.norm = layers.LayerNormalization(epsilon=self.epsilon, dtype=dtype, name="norm")
        self.proj = layers.Dense(C, name="proj", **dense)
        for part in (self.q, self.kv, self.sr, self.norm, self.proj):
            part.build(shape)

    def call(self, x, training=False):
        pooled = self.norm(self.sr(adaptive_average_pool(x, POOL)))  # B 7 7 C
        keys_values = self.kv(ops.gelu(pooled, approximate=False))
        attended = attend_to(flatten_map(self.q(x)), flatten_map(keys_values), self.num_heads, training)  # B N C
        return ops.reshape(self.proj(attended), (-1, *sizes(x)))  # B H W C

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("keras_vit")
class ConvMLP(layers.Layer):
    """fc2(GELU(dwconv(fc1(x)))) with a depthwise 3 x 3 convolution, whose zero padding encodes positions (Fig. 2b).

    Args:
        hidden_dim: width between the two projections.
        relu: whether a ReLU comes before the convolution.
        activation: behind it, of `ACTIVATIONS`.
    Input:   (B, H, W, C).      Output: (B, H, W, C).
    """

    def __init__(self, hidden_dim, relu=False, activation="gelu", **kwargs):
        super().__init__(**kwargs)
        check_activation(activation)
        self.hidden_dim, self.relu, self.activation = hidden_dim, relu, activation

    def build(self, shape):
        dtype, hidden_shape = self.dtype_policy, (*shape[:-1], self.hidden_dim)
        dense = {"kernel_initializer": initial_normal(), "dtype": dtype}
        self.fc1 = layers.Dense(self.hidden_dim, name="fc1", **dense)
        self.dwconv = layers.DepthwiseConv2D(
            3, padding="same", depthwise_initializer=he_normal_fan_out(), dtype=dtype, name="dwconv"
        )
        self.fc2 = layers.Dense(shape[-1], name="fc2", **dense)
        self.fc1.build(shape)
        self.dwconv.build(hidden_shape)
        self.fc2.build(hidden_shape)

    def call(self, x, training=False):
        x = self.fc1(x)
        x = self.dwconv(ops.relu(x) if self.relu else x)
        return project_activated(x, self.fc2, training, self.activation)

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("keras_vit")
class PVTV2Block(PVTBlock):
    """PVT's block with reduced keys and values and a convolution in its MLP.

    Args:
        num_heads: heads h; must divide C.
        mlp_ratio: hidden width of the MLP in units of C.
        reduction: R, by which the map of keys and values is smaller along both sides; None for linear SRA.
        drop_path_rate: probability, in [0, 1), of skipping a branch for a whole sample.
        epsilon, patch_epsilon: of both LayerNorms, and of the one after the reduction.
        qkv_bias: whether the projections to q, k and v have biases.
        activation: of the MLP, of `ACTIVATIONS`.
    Input:   (B, H, W, C).      Output: (B, H, W, C).
    """

    def make_attention(self):
        options = {"epsilon": self.patch_epsilon, "qkv_bias": self.qkv_bias, "dtype": self.dtype_policy, "name": "attn"}
        if self.reduction is None:
            return LinearSpatialReductionAttention(self.num_heads, **options)
        return SpatialReductionAttention(self.num_heads, self.reduction, **options)

    def make_mlp(self, width):
        relu, hidden_dim = self.reduction is None, int(self.mlp_ratio * width)
        return ConvMLP(hidden_dim, relu=relu, activation=self.activation, dtype=self.dtype_policy, name="mlp")


def overlapping_patches(x, embed_dim, kernel, stride, name, epsilon=PATCH_EPSILON):
    """A convolution with kernel // 2 zeros on all four sides ("same" would put them elsewhere), and its norm."""
    x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    init = he_normal_fan_out()
    x = layers.Conv2D(embed_dim, kernel, strides=stride, kernel_initializer=init, name=f"{name}_embed")(x)
    return layers.LayerNormalization(epsilon=epsilon, name=f"{name}_norm")(x)


def build(config, image, head, drop_path_rate=0.0):
    """Stages of overlapping patches, blocks and a norm, then the mean and the classifier.  (B, H, W, 3) -> (B, K)."""
    x = image
    rates = iter(drop_path_rates(drop_path_rate, sum(config.depths)))
    reductions = config.sr_ratios or (None,) * len(config.depths)
    stages = zip(config.depths, config.embed_dims, config.num_heads, config.mlp_ratios, reductions)
    options = block_options(config, PVTV2Block)
    for s, (depth, C, num_heads, mlp_ratio, reduction) in enumerate(stages):
        patches = (config.patch_sizes[s], config.strides[s], f"stage{s}_patch")
        x = overlapping_patches(x, C, *patches, config.patch_epsilon)  # B H W C
        for b in range(depth):
            x = PVTV2Block(num_heads, mlp_ratio, reduction, next(rates), name=f"stage{s}_block{b}", **options)(x)
        x = layers.LayerNormalization(epsilon=config.epsilon, name=f"stage{s}_norm")(x)
    x = head.pool_map(x)  # B C
    return head.classify(x) if head.include_top else x


def sides(config):
    """Every reduced map must keep a pixel; sides that do not divide are padded by patches, cut by reductions."""
    shrunk = itertools.accumulate(config.strides, operator.mul)  # pixels of the image to one of each map
    smallest = max((pixels * reduction for pixels, reduction in zip(shrunk, config.sr_ratios or ())), default=1)
    return Sides(1, smallest=smallest, padded_to=smallest)


# Checkpoints -----------------------------------------------------------------------------------------------------


def _layout(name, patches, block, dwconv, norm_name):
    """timm's and the official files differ in names alone. `patches`: where each stage's patch embedding is."""
    target = "stage{s}_block{b}"
    rules = (
        *(rule for source, stage in patches for rule in conv(f"{source}.proj", f"{stage}_patch_embed")),
        *(rule for source, stage in patches for rule in norm(f"{source}.norm", f"{stage}_patch_norm")),
        *norm(f"{block}.norm1", f"{target}/norm1"),
        *dense(f"{block}.attn.q", f"{target}/attn/q"),
        *dense(f"{block}.attn.kv", f"{target}/attn/kv"),
        *conv(f"{block}.attn.sr", f"{target}/attn/sr"),
        *norm(f"{block}.attn.norm", f"{target}/attn/norm"),
        *dense(f"{block}.attn.proj", f"{target}/attn/proj"),
        *norm(f"{block}.norm2", f"{target}/norm2"),
        *dense(f"{block}.mlp.fc1", f"{target}/mlp/fc1"),
        *depthwise(f"{block}.mlp.{dwconv}", f"{target}/mlp/dwconv"),
        *dense(f"{block}.mlp.fc2", f"{target}/mlp/fc2"),
        *norm(norm_name, "stage{s}_norm"),
        *dense("head", "head"),
    )
    return Layout(name, rules)


TIMM = _layout(
    "timm",
    patches=(("patch_embed", "stage0"), ("stages.{s}.downsample", "stage{s}")),
    block="stages.{s}.blocks.{b}",
    dwconv="dwconv",
    norm_name="stages.{s}.norm",
)
OFFICIAL = _layout(
    "official",
    patches=(("patch_embed{s+1}", "stage{s}"),),
    block="block{s+1}.{b}",
    dwconv="dwconv.dwconv",
    norm_name="norm{s+1}",
)


def _transformers():
    """transformers' names: keys and values apart, patches with the stage that they begin."""
    stage, target = "pvt_v2.encoder.layers.{s}", "stage{s}_block{b}"
    block = f"{stage}.blocks.{{b}}"
    attention = f"{block}.attention"
    rules = (
        *conv(f"{stage}.patch_embedding.proj", "stage{s}_patch_embed"),
        *norm(f"{stage}.patch_embedding.layer_norm", "stage{s}_patch_norm"),
        *norm(f"{block}.layer_norm_1", f"{target}/norm1"),
        *dense(f"{attention}.query", f"{target}/attn/q"),
        *fused_dense((f"{attention}.key", f"{attention}.value"), f"{target}/attn/kv"),
        *conv(f"{attention}.spatial_reduction", f"{target}/attn/sr"),
        *norm(f"{attention}.layer_norm", f"{target}/attn/norm"),
        *dense(f"{attention}.proj", f"{target}/attn/proj"),
        *norm(f"{block}.layer_norm_2", f"{target}/norm2"),
        *dense(f"{block}.mlp.dense1", f"{target}/mlp/fc1"),
        *depthwise(f"{block}.mlp.dwconv.dwconv", f"{target}/mlp/dwconv"),
        *dense(f"{block}.mlp.dense2", f"{target}/mlp/fc2"),
        *norm(f"{stage}.layer_norm", "stage{s}_norm"),
        *dense("classifier", "head"),
    )
    return Layout("transformers", rules)


PVT_V2 = Family(
    name="PVT v2",
    paper="2106.13797",
    build=build,
    sides=sides,
    layouts=(TIMM, OFFICIAL, _transformers()),
    resamplers={"stage0_patch_embed/kernel": input_channels},
    preprocessing=IMAGENET,
)

SMALL_DIMS, SMALL_MLP = (32, 64, 160, 256), (4, 4, 4, 4)  # of B0 and B5
# Table 1. Parameters with 1000 classes.
PVTV2B0 = Variant("PVTV2B0", PVT_V2, Config((2, 2, 2, 2), SMALL_DIMS), 3_666_760, "pvt_v2_b0")
PVTV2B1 = Variant("PVTV2B1", PVT_V2, Config((2, 2, 2, 2)), 14_009_000, "pvt_v2_b1")
PVTV2B2 = Variant("PVTV2B2", PVT_V2, Config((3, 4, 6, 3)), 25_362_856, "pvt_v2_b2")
PVTV2B2Li = Variant("PVTV2B2Li", PVT_V2, Config((3, 4, 6, 3), sr_ratios=None), 22_553_512, "pvt_v2_b2_li")
PVTV2B3 = Variant("PVTV2B3", PVT_V2, Config((3, 4, 18, 3)), 45_238_696, "pvt_v2_b3")
PVTV2B4 = Variant("PVTV2B4", PVT_V2, Config((3, 8, 27, 3)), 62_556_072, "pvt_v2_b4")
PVTV2B5 = Variant("PVTV2B5", PVT_V2, Config((3, 6, 40, 3), mlp_ratios=SMALL_MLP), 81_956_008, "pvt_v2_b5")

preprocess_input = family_preprocess_input(PVTV2B2)
