"""DINOv2 -- Oquab et al., TMLR 2024, arXiv:2304.07193; with registers -- Darcet et al., ICLR 2024, arXiv:2309.16588.

ViTs with patches of 14 and layer scale, trained without labels on 142 million images; the largest has gated MLPs
(SwiGLU). S, B and L are distilled from g. What uses them reads their frozen class token or patch tokens. In the second
paper four learned tokens without a position, registers, stand between the class token and the patches, and take the
global information that large ViTs otherwise write over patches of the background (Fig. 1 and 3).

Letters: B batch, P patch side, N = H W / P^2 patches, R registers, D width (embed_dim), h heads, K classes.

The published weights have no classifier. One that is added reads the class token (timm), or the class token beside the
mean of the patches (the linear heads of the official code and of transformers): `Config.pool`. A file that has one says
which by its width.

Differences between the checkpoints and this file:
- With registers, the class token has a position in the official files and in transformers', and none in timm's and
  here, where the class token is the sum of both. Written back, its position is zero.
- The token for masked patches (`mask_token`) belongs to the training; it is left out.
- SwiGLU's two matrices are w12 and w3 in official files, weights_in and weights_out in transformers', fc1 and fc2 in
  timm's and here.
- Another image size than that of the file: each library resamples the positions of this model in its own way, and so
  do the layouts here (`OFFICIAL`, `PLAIN`, `SMOOTH`). Files of this library's own are resampled as the official code
  does it, with which these weights were trained and measured: without registers by an unfiltered cubic whose step is
  old / (new + 0.1), with registers antialiased. timm always antialiases, transformers with registers only.
"""

from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import layers

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import (
    EncoderBlock,
    PositionEmbedding,
    PrependToken,
    PrependTokens,
    SelectToken,
    SwiGLU,
    TokensToGrid,
)
from keras_vit.layers.activations import ACTIVATIONS
from keras_vit.layers.tokens import native_grid
from keras_vit.models import vit
from keras_vit.models.family import IMAGENET, Family, Variant, family_preprocess_input
from keras_vit.weights.patch_kernel import patch_kernel
from keras_vit.weights.resample import positions
from keras_vit.weights.rules import Layout, Transform, conv, dense, fuse, fused_dense, ignore, norm, param, supply

LAYER_SCALE = 1e-5  # what the factors start from in the published training configurations


@dataclass(frozen=True)
class Config:
    """A row of Table 16 (architectures), with the registers of the second paper."""

    embed_dim: int  # D
    depth: int  # encoder blocks
    num_heads: int  # h
    patch_size: int = 14  # P, pixels
    mlp: str = "gelu"  # what is between its two matrices, of `layers.activations`; or "swiglu", a gated one
    registers: int = 0  # R, learned tokens behind the class token
    pool: str = "token"  # what the classifier reads: the class token, or "token_and_mean", beside it the mean patch
    mlp_ratio: float = 4.0  # hidden width of the MLP, in units of D; of a gated one, of the MLP with as many weights
    qkv_bias: bool = True  # whether the projection to q, k and v has a bias
    epsilon: float = 1e-6  # of every LayerNorm

    def __post_init__(self):
        for name, expected in (("mlp", (*ACTIVATIONS, "swiglu")), ("pool", ("token", "token_and_mean"))):
            if getattr(self, name) not in expected:
                one_of = ", ".join(map(repr, expected))
                raise ValueError(f"{name}: expected one of {one_of}. Received: {name}={getattr(self, name)!r}")
        if self.registers < 0:
            raise ValueError(f"registers: expected a number of tokens, 0 or more. Received: {self.registers}")


@keras.saving.register_keras_serializable("keras_vit")
class SwiGLUBlock(EncoderBlock):
    """An encoder block with a gated MLP (arXiv:2304.07193, Sec. 5).  Input, output: (B, N, C)."""

    def make_mlp(self, width):
        return SwiGLU(gated_width(width, self.mlp_ratio), dtype=self.dtype_policy, name="mlp")


def gated_width(width, mlp_ratio):
    """Hidden width of a gated MLP: two thirds of the ungated one's, rounded up to a multiple of 8, as published."""
    return (int(int(width * mlp_ratio) * 2 / 3) + 7) // 8 * 8


def build(config, image, head, drop_path_rate=0.0):
    """Patches, class token, registers, positions, encoder, classifier.  (B, H, W, 3) -> (B, K)."""
    patches, grid = vit.patch_embed(config, image), native_grid(config.patch_size)
    x = vit.flatten(patches)  # B N D
    if config.registers:
        x = PositionEmbedding(0, grid, name="positions")(x, patches)
        x = PrependTokens(config.registers, name="registers")(x)
        x = PrependToken(name="class_token")(x)  # B 1+R+N D
    else:
        x = PrependToken(name="class_token")(x)
        x = PositionEmbedding(1, grid, name="positions")(x, patches)  # B 1+N D
    x = encoder(config, x, drop_path_rate)
    if not head.include_top:
        return head.pool_tokens(x, patches)
    return head.classify(pool(config, x, patches))


def encoder(config, x, drop_path_rate):
    """The blocks, with one drop-path rate as in training (`drop_path_uniform`), and the final norm.  (B, N, D)."""
    options = {"epsilon": config.epsilon, "qkv_bias": config.qkv_bias, "layer_scale": LAYER_SCALE}
    block = SwiGLUBlock
    if config.mlp != "swiglu":
        block, options["activation"] = EncoderBlock, config.mlp
    for i in range(config.depth):
        x = block(config.num_heads, config.mlp_ratio, drop_path_rate, name=f"block{i}", **options)(x)
    return layers.LayerNormalization(epsilon=config.epsilon, name="norm")(x)


def pool(config, x, patches):
    """What the classifier reads.  (B, 1+R+N, D) -> (B, D) or (B, 2 D)."""
    token = SelectToken(name="pooled_token")(x)
    if config.pool == "token":
        return token
    mean = layers.GlobalAveragePooling2D(name="pool")(TokensToGrid(name="grid")(x, patches))
    return layers.Concatenate(name="token_and_mean")([token, mean])


def configure(config, entries, classes):
    """What a file's classifier reads, by its width, where the classifier is kept."""
    shapes = entries.shapes()
    for name, shape in shapes.items():
        stored = shape if name.endswith(("head.weight", "classifier.weight")) else shape[::-1]
        if name.endswith(("head.weight", "classifier.weight", "head/kernel")) and stored[:1] == (classes,):
            return replace(config, pool="token_and_mean" if stored[1:] == (2 * config.embed_dim,) else "token")
    return config


# Checkpoints -----------------------------------------------------------------------------------------------------


OFFICIAL = {"positions/table": positions(1, 0, antialias=False, offset=0.1)}  # facebookresearch/dinov2, no registers
PLAIN = {"positions/table": positions(1, 0, antialias=False)}  # transformers, no registers
SMOOTH = {"positions/table": positions(1, 0)}  # timm; all three with registers

# With registers in a file, the class token's position is added to it; written back it is -0, which changes no bit.
ADDED = Transform(lambda token, table: token + table[:, :1], lambda token: (token, None))
WITHOUT_FIRST = Transform(
    lambda table: table[:, 1:], lambda table: np.pad(table, ((0, 0), (1, 0), (0, 0)), constant_values=-0.0)
)


def _tokens(token, table, registers=None, class_position=True):
    """Class token, positions and registers.

    Args:
        token, table, registers: their names in the file; None without registers.
        class_position: whether a file with registers keeps a position of the class token, the first of the table.
    """
    if registers is None:
        return param(token, "class_token/token") + param(table, "positions/table")
    rules = param(registers, "registers/tokens")
    if not class_position:
        return rules + param(token, "class_token/token") + param(table, "positions/table")
    return rules + fuse((token, table), "class_token/token", ADDED) + param(table, "positions/table", WITHOUT_FIRST)


def _block(block, projection, matrices, scales):
    """A block but for q, k and v: names of its output projection, of the MLP's matrices, of layer scale's factors."""
    rules = norm(f"{block}.norm1", "block{i}/norm1") + norm(f"{block}.norm2", "block{i}/norm2")
    rules += dense(f"{block}.{projection}", "block{i}/attn/proj")
    for i in (0, 1):
        rules += dense(f"{block}.mlp.{matrices[i]}", f"block{{i}}/mlp/fc{i + 1}")
        rules += param(f"{block}.{scales[i]}", f"block{{i}}/scale{i + 1}/gamma")
    return rules


def _timm(name, tokens, prefix="", head="head", rest=(), resamplers=SMOOTH):
    """timm's names, which are the official code's but for the tokens and SwiGLU."""
    block = f"{prefix}blocks.{{i}}"
    rules = (
        *conv(f"{prefix}patch_embed.proj", "patch_embed"),
        *tokens,
        *dense(f"{block}.attn.qkv", "block{i}/attn/qkv"),
        *_block(block, "attn.proj", ("fc1", "fc2"), ("ls1.gamma", "ls2.gamma")),
        *norm(f"{prefix}norm", "norm"),
        *dense(head, "head"),
    )
    return Layout(name, (*rules, *rest), resamplers, suits=lambda shapes: _head_reads(shapes, "token"))


def _official(registers, prefix="", head="head"):
    """facebookresearch/dinov2: a backbone, or a backbone and a linear head on its last block."""
    token, table, mask = f"{prefix}cls_token", f"{prefix}pos_embed", f"{prefix}mask_token"
    tokens = _tokens(token, table, f"{prefix}register_tokens" if registers else None)
    gated = _block(f"{prefix}blocks.{{i}}", "attn.proj", ("w12", "w3"), ("ls1.gamma", "ls2.gamma"))
    name = f"official ({prefix}*)" if prefix else "official"
    resamplers = SMOOTH if registers else OFFICIAL
    return _timm(name, tokens, prefix=prefix, head=head, rest=(*ignore(mask), *gated), resamplers=resamplers)


def _transformers(name, registers, matrices, gated):
    """transformers' Dinov2 and Dinov2WithRegisters, as `save_pretrained` names their entries."""

    def suits(shapes):
        return _head_reads(shapes, "token_and_mean") and _is_gated(shapes) == gated

    prefix = "dinov2_with_registers." if registers else "dinov2."
    before, block = f"{prefix}embeddings", f"{prefix}encoder.layer.{{i}}"
    tokens = (
        f"{before}.cls_token",
        f"{before}.position_embeddings",
        f"{before}.register_tokens" if registers else None,
    )
    attention = [f"{block}.attention.attention.{part}" for part in ("query", "key", "value")]
    rules = (
        *conv(f"{before}.patch_embeddings.projection", "patch_embed"),
        *_tokens(*tokens),
        *supply(f"{before}.mask_token", "class_token/token", lambda token: np.zeros_like(token[0])),
        *fused_dense(attention, "block{i}/attn/qkv"),
        *_block(block, "attention.output.dense", matrices, ("layer_scale1.lambda1", "layer_scale2.lambda1")),
        *norm(f"{prefix}layernorm", "norm"),
        *dense("classifier", "head"),
    )
    return Layout(name, rules, SMOOTH if registers else PLAIN, suits)


def _head_reads(shapes, pool):
    """Whether a model, {path: shape}, has a classifier on what `Config.pool` says, or none."""
    width = shapes["norm/gamma"][0]
    return shapes.get("head/kernel", (None,))[0] in (None, width if pool == "token" else 2 * width)


def _is_gated(shapes):
    """Whether a model, {path: shape}, has gated MLPs."""
    first = shapes.get("block0/mlp/fc1/kernel")
    return first is not None and first[1] == 2 * shapes["block0/mlp/fc2/kernel"][0]


def _layouts(registers):
    """The three libraries' formats, of the models without registers or of those with them."""
    return (
        _timm("timm", _tokens("cls_token", "pos_embed", "reg_token" if registers else None, class_position=False)),
        _official(registers),
        _official(registers, "backbone.", "linear_head"),
        _transformers("transformers", registers, ("fc1", "fc2"), gated=False),
        _transformers("transformers (SwiGLU)", registers, ("weights_in", "weights_out"), gated=True),
    )


def _family(paper, registers, resamplers):
    return Family(
        name="DINOv2",
        paper=paper,
        build=build,
        sides=vit.sides,
        layouts=_layouts(registers),
        resamplers={**resamplers, "patch_embed/kernel": patch_kernel},
        preprocessing=replace(IMAGENET, crop_pct=1.0),
        configure=configure,
    )


DINOV2 = _family("2304.07193", registers=False, resamplers=OFFICIAL)
DINOV2_REGISTERS = _family("2309.16588", registers=True, resamplers=SMOOTH)

# D, depth, h. Parameters at the native size, 518 pixels, with a classifier of 1000 classes on the class token.
SMALL, BASE, LARGE, GIANT = (
    Config(384, 12, 6),
    Config(768, 12, 12),
    Config(1024, 24, 16),
    Config(1536, 40, 24, mlp="swiglu"),
)


def _with_registers(name, config, parameters, alias):
    return Variant(name, DINOV2_REGISTERS, replace(config, registers=4), parameters, alias)


DINOv2S = Variant("DINOv2S", DINOV2, SMALL, 22_441_192, "vit_small_patch14_dinov2")
DINOv2B = Variant("DINOv2B", DINOV2, BASE, 87_348_712, "vit_base_patch14_dinov2")
DINOv2L = Variant("DINOv2L", DINOV2, LARGE, 305_392_616, "vit_large_patch14_dinov2")
DINOv2G = Variant("DINOv2G", DINOV2, GIANT, 1_138_016_232, "vit_giant_patch14_dinov2")
DINOv2SReg4 = _with_registers("DINOv2SReg4", SMALL, 22_442_344, "vit_small_patch14_reg4_dinov2")
DINOv2BReg4 = _with_registers("DINOv2BReg4", BASE, 87_351_016, "vit_base_patch14_reg4_dinov2")
DINOv2LReg4 = _with_registers("DINOv2LReg4", LARGE, 305_395_688, "vit_large_patch14_reg4_dinov2")
DINOv2GReg4 = _with_registers("DINOv2GReg4", GIANT, 1_138_020_840, "vit_giant_patch14_reg4_dinov2")

preprocess_input = family_preprocess_input(DINOv2B)
