"""Pyramid Vision Transformer (PVT) -- Wang et al., ICCV 2021, arXiv:2102.12122.

A transformer with the four resolutions of a convolutional network: each stage embeds patches of the map before it,
adds positions of its own, and attends with keys and values from a reduced map, so that its cost stays bearable at a
quarter of the image's resolution (Fig. 3 and 4). A class token joins in the last stage and feeds the classifier.

Letters: B batch, H W grid, N = H W tokens, C channels, h heads, R reduction ratio, K classes.

Differences between the checkpoints and this file:
- Position tables are stored as [1, N, C]; here those of a map keep their grid, (1, H, W, C).
- Positions move to another size bilinearly, without antialiasing: what the official code does at every call.
- The official code drops the remainder of sizes that are no multiple of 32; here they are refused.
"""

import math
from dataclasses import dataclass

import keras
from keras import layers

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import MLP, PositionEmbedding, PreNormBlock, PrependToken, drop_path_rates
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.spatial_reduction import SpatialReductionAttention
from keras_vit.layers.tokens import native_grid
from keras_vit.models.family import (
    IMAGENET,
    Family,
    Named,
    Variant,
    differing,
    family_preprocess_input,
    later,
)
from keras_vit.models.sides import Sides
from keras_vit.weights.resample import input_channels, positions
from keras_vit.weights.rules import Layout, Transform, conv, dense, fused_dense, norm, param

EPSILON = 1e-6  # of the blocks' LayerNorms and the last one in the published code; the paper does not say
PATCH_EPSILON = 1e-5  # of the LayerNorms after the patch embeddings and the reductions


@dataclass(frozen=True, repr=False)
class Config(Named):
    """A column of Table 1; one entry per stage."""

    depths: tuple[int, ...]  # L, blocks
    embed_dims: tuple[int, ...] = (64, 128, 320, 512)  # C
    num_heads: tuple[int, ...] = (1, 2, 5, 8)  # N in the paper
    mlp_ratios: tuple[float, ...] = (8, 8, 4, 4)  # E, hidden width of the MLP in units of C
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)  # R, along each side; 1 in the last stage, which has a class token
    patch_size: int = 4  # pixels, of the first stage; 2 x 2 of the map before in the others
    epsilon: float = later(EPSILON)  # of the blocks' LayerNorms and the last one
    patch_epsilon: float = later(PATCH_EPSILON)  # of the LayerNorms after the patch embeddings and the reductions
    qkv_bias: bool = later(True)  # whether the projections to q, k and v have biases
    activation: str = later("gelu")  # of the MLPs, of `keras_vit.layers.activations`


@keras.saving.register_keras_serializable("keras_vit")
class PVTBlock(PreNormBlock):
    """Pre-norm encoder block with spatial-reduction attention (Fig. 3, Sec. 3.3).

    Args:
        num_heads: heads h; must divide C.
        mlp_ratio: hidden width of the MLP in units of C.
        reduction: R, by which the map of keys and values is smaller along both sides.
        drop_path_rate: probability, in [0, 1), of skipping a branch for a whole sample.
        epsilon, patch_epsilon: of both LayerNorms, and of the one after the reduction.
        qkv_bias: whether the projections to q, k and v have biases.
        activation: of the MLP, of `ACTIVATIONS`.
    Input:   (B, H, W, C), or with R = 1 also (B, N, C).      Output: as the input.
    """

    def __init__(
        self,
        num_heads,
        mlp_ratio=4.0,
        reduction=1,
        drop_path_rate=0.0,
        epsilon=EPSILON,
        patch_epsilon=PATCH_EPSILON,
        qkv_bias=True,
        activation="gelu",
        **kwargs,
    ):
        super().__init__(drop_path_rate, **kwargs)
        self.num_heads, self.mlp_ratio, self.reduction = num_heads, mlp_ratio, reduction
        self.epsilon, self.patch_epsilon = epsilon, patch_epsilon
        self.qkv_bias, self.activation = qkv_bias, activation

    def make_attention(self):
        options = (self.num_heads, self.reduction, self.patch_epsilon, self.qkv_bias)
        return SpatialReductionAttention(*options, dtype=self.dtype_policy, name="attn")

    def make_mlp(self, width):
        return MLP(int(self.mlp_ratio * width), self.activation, dtype=self.dtype_policy, name="mlp")


def build(config, image, head, drop_path_rate=0.0):
    """Fig. 3: stages of patches, positions and blocks, the last with a class token.  (B, H, W, 3) -> (B, K)."""
    x, init = image, initial_normal()
    rates = iter(drop_path_rates(drop_path_rate, sum(config.depths)))
    stages = zip(config.depths, config.embed_dims, config.num_heads, config.mlp_ratios, config.sr_ratios)
    options = block_options(config, PVTBlock)
    for s, (depth, C, num_heads, mlp_ratio, reduction) in enumerate(stages):
        P = config.patch_size if s == 0 else 2
        x = layers.Conv2D(C, P, strides=P, kernel_initializer=init, name=f"stage{s}_patch_embed")(x)  # B H W C
        x = layers.LayerNormalization(epsilon=config.patch_epsilon, name=f"stage{s}_patch_norm")(x)
        patches, leading = x, int(s == len(config.depths) - 1)
        if leading:
            x = layers.Reshape((-1, C), name="flatten_patches")(x)  # B N C
            x = PrependToken(name="class_token")(x)  # B 1+N C
        grid = native_grid(config.patch_size * 2**s)
        x = PositionEmbedding(leading, grid, name=f"stage{s}_positions")(x, patches)
        for b in range(depth):
            x = PVTBlock(num_heads, mlp_ratio, reduction, next(rates), name=f"stage{s}_block{b}", **options)(x)
    x = layers.LayerNormalization(epsilon=config.epsilon, name="norm")(x)
    x = head.pool_tokens(x, patches)  # B C
    return head.classify(x) if head.include_top else x


def block_options(config, block):
    """What a configuration says of its blocks, of PVT and PVT v2 alike, where it is not their default."""
    names = ("epsilon", "patch_epsilon", "qkv_bias", "activation")
    return differing(block, **{name: getattr(config, name) for name in names})


def sides(config):
    """Both sides must be whole numbers of the last stage's patches, and the reductions of each stage's map."""
    scales = [config.patch_size * 2**s * reduction for s, reduction in enumerate(config.sr_ratios)]
    return Sides(math.lcm(*scales), "the patches of the last stage and the reduced maps")


# Checkpoints -----------------------------------------------------------------------------------------------------


def _grid_of_positions(table):
    """[1, N, C] -> (1, H, W, C) for a square; the last stage's table has one position more and stays."""
    side = math.isqrt(table.shape[1])
    return table.reshape(1, side, side, -1) if side * side == table.shape[1] else table


GRID = Transform(_grid_of_positions, lambda table: table.reshape(1, -1, table.shape[-1]))


# The last stage's positions are a sequence that begins with the class token's, the others' are maps.
POSITIONS = positions(1, kernel="bilinear", antialias=False)

SOURCE, TARGET = "block{s+1}.{b}", "stage{s}_block{b}"
OFFICIAL = Layout(
    "official",
    (
        *conv("patch_embed{s+1}.proj", "stage{s}_patch_embed"),
        *norm("patch_embed{s+1}.norm", "stage{s}_patch_norm"),
        *param("pos_embed{s+1}", "stage{s}_positions/table", GRID),
        *param("cls_token", "class_token/token"),
        *norm(f"{SOURCE}.norm1", f"{TARGET}/norm1"),
        *dense(f"{SOURCE}.attn.q", f"{TARGET}/attn/q"),
        *dense(f"{SOURCE}.attn.kv", f"{TARGET}/attn/kv"),
        *conv(f"{SOURCE}.attn.sr", f"{TARGET}/attn/sr"),
        *norm(f"{SOURCE}.attn.norm", f"{TARGET}/attn/norm"),
        *dense(f"{SOURCE}.attn.proj", f"{TARGET}/attn/proj"),
        *norm(f"{SOURCE}.norm2", f"{TARGET}/norm2"),
        *dense(f"{SOURCE}.mlp.fc1", f"{TARGET}/mlp/fc1"),
        *dense(f"{SOURCE}.mlp.fc2", f"{TARGET}/mlp/fc2"),
        *norm("norm", "norm"),
        *dense("head", "head"),
    ),
)


def _transformers(stages):
    """transformers' names; the class token is with the patches of the last of so many stages."""

    def suits(shapes):
        tables = [shape for path, shape in shapes.items() if path.endswith("_positions/table")]
        square = all(shape[1] == shape[2] for shape in tables if len(shape) == 4)  # a file does not say the sides
        return square and len(tables) == stages

    before, block = "pvt.encoder.patch_embeddings", "pvt.encoder.block.{s}.{b}"
    attention = f"{block}.attention.self"
    rules = (
        *conv(f"{before}.{{s}}.projection", "stage{s}_patch_embed"),
        *norm(f"{before}.{{s}}.layer_norm", "stage{s}_patch_norm"),
        *param(f"{before}.{{s}}.position_embeddings", "stage{s}_positions/table", GRID),
        *param(f"{before}.{stages - 1}.cls_token", "class_token/token"),
        *norm(f"{block}.layer_norm_1", f"{TARGET}/norm1"),
        *dense(f"{attention}.query", f"{TARGET}/attn/q"),
        *fused_dense((f"{attention}.key", f"{attention}.value"), f"{TARGET}/attn/kv"),
        *conv(f"{attention}.sequence_reduction", f"{TARGET}/attn/sr"),
        *norm(f"{attention}.layer_norm", f"{TARGET}/attn/norm"),
        *dense(f"{block}.attention.output.dense", f"{TARGET}/attn/proj"),
        *norm(f"{block}.layer_norm_2", f"{TARGET}/norm2"),
        *dense(f"{block}.mlp.dense1", f"{TARGET}/mlp/fc1"),
        *dense(f"{block}.mlp.dense2", f"{TARGET}/mlp/fc2"),
        *norm("pvt.encoder.layer_norm", "norm"),
        *dense("classifier", "head"),
    )
    return Layout("transformers" if stages == 4 else f"transformers ({stages} stages)", rules, suits=suits)


PVT = Family(
    name="PVT",
    paper="2102.12122",
    build=build,
    sides=sides,
    layouts=(OFFICIAL, *map(_transformers, (4, 1, 2, 3, 5, 6))),  # 4 in every published model
    resamplers={"stage*_positions/table": POSITIONS, "stage0_patch_embed/kernel": input_channels},
    preprocessing=IMAGENET,
)

# Table 1. Parameters at 224 pixels with 1000 classes.
PVTTiny = Variant("PVTTiny", PVT, Config((2, 2, 2, 2)), 13_229_288, "pvt_tiny")
PVTSmall = Variant("PVTSmall", PVT, Config((3, 4, 6, 3)), 24_485_864, "pvt_small")
PVTMedium = Variant("PVTMedium", PVT, Config((3, 4, 18, 3)), 44_208_104, "pvt_medium")
PVTLarge = Variant("PVTLarge", PVT, Config((3, 8, 27, 3)), 61_369_320, "pvt_large")

preprocess_input = family_preprocess_input(PVTTiny)
