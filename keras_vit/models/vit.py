"""Vision Transformer (ViT) -- Dosovitskiy et al., ICLR 2021, arXiv:2010.11929.

An image is cut into P x P patches, each projected to a token; a [class] token is put before them, positions are
added, and a plain pre-norm transformer encoder follows (Fig. 1, Eq. 1-4). The classifier reads the class token.
The weights are the original ones, AugReg (arXiv:2106.10270), SAM, DINO and MAE; widths and depths beyond the paper's
Table 1 (Ti, S) come from AugReg's Table 2.

Letters: B batch, P patch side, N = H W / P^2 patches, D width (embed_dim), h heads, K classes.

The ablations of App. D.3 (average pooling instead of the class token) and D.4 (other positions, Table 8) are values of
`Config`; no weights of them were published.

Differences between the checkpoints and this file:
- timm's `qkv.weight` is q, k, v stacked; the JAX files keep them apart, with the heads as an axis of their own.
- The original JAX models use the tanh form of GELU. timm runs, and has measured, their weights with the exact form,
  and so does this file.
- The original 21k models put a Dense and a tanh between the class token and the classifier (`pre_logits`). It is
  built when a file that holds it is loaded with its 21,843 classes, and left out with every other head.
"""

from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import layers, ops

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import EncoderBlock, PositionEmbedding, PrependToken, TokensToGrid, drop_path_rates
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.resampling import resample_line
from keras_vit.layers.sizes import equal, sizes
from keras_vit.layers.tokens import native_grid
from keras_vit.models.family import (
    INCEPTION,
    Family,
    Named,
    Variant,
    differing,
    family_preprocess_input,
    later,
)
from keras_vit.models.sides import Sides
from keras_vit.weights.patch_kernel import patch_kernel
from keras_vit.weights.resample import interpolation_matrix, positions
from keras_vit.weights.rules import (
    Layout,
    conv,
    dense,
    fuse,
    fused_dense,
    ignore,
    merge_qkv_biases,
    merge_qkv_kernels,
    norm,
    param,
)

EPSILON = 1e-6  # of every LayerNorm in the published code; the paper does not say


@dataclass(frozen=True, repr=False)
class Config(Named):
    """A row of Table 1, or of an ablation."""

    embed_dim: int  # D
    depth: int  # L, encoder blocks
    num_heads: int  # h
    patch_size: int  # P, pixels
    mlp_ratio: float = 4.0  # hidden width of the MLP, in units of D
    pre_logits: bool = False  # the Dense + tanh of the original 21k classifiers (Sec. 3.1)
    pool: str = "token"  # what the classifier reads: the class token, or "gap", the mean patch (App. D.3)
    positions: str = "learned_1d"  # or "none", "learned_2d", "relative" (App. D.4)
    epsilon: float = later(EPSILON)  # of every LayerNorm
    qkv_bias: bool = later(True)  # whether the projection to q, k and v has a bias
    activation: str = later("gelu")  # of the MLP, of `keras_vit.layers.activations`

    def __post_init__(self):
        if self.pool not in ("token", "gap"):
            raise ValueError(f"pool: expected 'token' or 'gap'. Received: pool={self.pool!r}")
        if self.positions not in ("none", "learned_1d", "learned_2d", "relative"):
            raise ValueError(
                "positions: expected 'none', 'learned_1d', 'learned_2d' or 'relative'. "
                f"Received: positions={self.positions!r}"
            )


@keras.saving.register_keras_serializable("keras_vit")
class GridPositionEmbedding(layers.Layer):
    """A learned vector per column beside one per row, half the channels each (App. D.4, "2-dimensional").

    Args:
        grid: (H, W) that they are kept for, in patches; by default that of the images that it is built for. On another
            they are resampled, bicubically.
    Input:   (B, H, W, D).      Output: (B, H, W, D).
    """

    def __init__(self, grid=None, **kwargs):
        super().__init__(**kwargs)
        self.grid = grid and tuple(grid)

    def build(self, shape):
        D = shape[-1]
        self.grid = H, W = self.grid or tuple(shape[1:3])
        self.columns = self.add_weight((W, D // 2), initial_normal(), name="columns", autocast=False)
        self.rows = self.add_weight((H, D - D // 2), initial_normal(), name="rows", autocast=False)

    def call(self, x):
        H, W, D = sizes(x)
        columns, rows = self.columns, self.rows
        if not equal((H, W), self.grid):
            columns, rows = resample_line(columns, W), resample_line(rows, H)
        columns = ops.broadcast_to(ops.expand_dims(columns, 0), (H, W, D // 2))
        rows = ops.broadcast_to(ops.expand_dims(rows, 1), (H, W, D - D // 2))
        return x + ops.cast(ops.concatenate([columns, rows], axis=-1), x.dtype)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "grid": self.grid}


def build(config, image, head, drop_path_rate=0.0):
    """Fig. 1, left to right: patches, class token, positions, encoder, classifier.  (B, H, W, 3) -> (B, K)."""
    return classify_patches(config, patch_embed(config, image), config.patch_size, head, drop_path_rate)


def patch_embed(config, x):
    """Cuts an image, or a map of features, into patches and projects them.  (B, H, W, C) -> (B, H/P, W/P, D)."""
    D, P = config.embed_dim, config.patch_size
    return layers.Conv2D(D, P, strides=P, kernel_initializer=initial_normal(), name="patch_embed")(x)


def classify_patches(config, x, stride, head, drop_path_rate):
    """All that follows the patches, of an image or of a ResNet's map (Sec. 3.1).  (B, H, W, D) -> (B, K).

    Args:
        stride: of the patches, in pixels of the image.
    """
    patches, leading = x, int(config.pool == "token")
    if config.positions == "learned_2d":  # the class token's position would only add to the learned token
        x = GridPositionEmbedding(native_grid(stride), name="positions")(x)
    x = flatten(x)  # B N D
    if config.pool == "token":
        x = PrependToken(name="class_token")(x)  # B 1+N D
    if config.positions == "learned_1d":
        x = PositionEmbedding(leading, native_grid(stride), name="positions")(x, patches)
    rates = drop_path_rates(drop_path_rate, config.depth)
    x = encoder(config, x, rates, relative_positions=config.positions == "relative")
    if config.pool == "token":
        x = head.pool_tokens(x, patches)
    else:
        x = head.pool_map(TokensToGrid(name="grid")(x, patches))
    if not head.include_top:
        return x
    if config.pre_logits:
        x = layers.Dense(config.embed_dim, activation="tanh", name="pre_logits")(x)
    return head.classify(x)


def flatten(x):
    """Patches in reading order.  (B, H, W, D) -> (B, H W, D)."""
    return layers.Reshape((-1, x.shape[-1]), name="flatten_patches")(x)


def encoder(config, x, rates, **options):
    """The blocks, one for each of the drop-path `rates`, and the final norm (Eq. 2-4).  (B, N, D) -> same."""
    options |= differing(EncoderBlock, qkv_bias=config.qkv_bias, activation=config.activation)
    for i, rate in enumerate(rates):
        x = EncoderBlock(config.num_heads, config.mlp_ratio, rate, config.epsilon, name=f"block{i}", **options)(x)
    return layers.LayerNormalization(epsilon=config.epsilon, name="norm")(x)


def sides(config):
    """Both sides must be whole numbers of patches."""
    return Sides(config.patch_size, "the patch size")


def configure(config, entries, classes):
    """Adds `pre_logits` where a file has one and its classifier is kept."""
    kernel = next((name for name in entries if name.endswith(("pre_logits/kernel", "pre_logits.fc.weight"))), None)
    head = next((name for name in entries if name.endswith(("head/bias", "head.bias"))), None)
    keeps_head = head is not None and entries.shapes()[head] == (classes,)
    return replace(config, pre_logits=True) if kernel and keeps_head else config


# Checkpoints -----------------------------------------------------------------------------------------------------

TIMM = Layout(  # timm, DINO, MAE and DeiT alike
    "timm",
    (
        *conv("patch_embed.proj", "patch_embed"),
        *param("cls_token", "class_token/token"),
        *param("pos_embed", "positions/table"),
        *norm("blocks.{i}.norm1", "block{i}/norm1"),
        *dense("blocks.{i}.attn.qkv", "block{i}/attn/qkv"),
        *dense("blocks.{i}.attn.proj", "block{i}/attn/proj"),
        *norm("blocks.{i}.norm2", "block{i}/norm2"),
        *dense("blocks.{i}.mlp.fc1", "block{i}/mlp/fc1"),
        *dense("blocks.{i}.mlp.fc2", "block{i}/mlp/fc2"),
        *norm("norm", "norm"),
        *dense("pre_logits.fc", "pre_logits"),
        *dense("head", "head"),
    ),
)


def transformers_rules(prefix, heads):
    """transformers' names of a plain encoder, those of its tokens apart; of DeiT and MAE too.

    Args:
        prefix: what `save_pretrained` puts before all but the classifiers.
        heads: {a classifier's name in the file: in the model}.
    """
    before, block = f"{prefix}.embeddings", f"{prefix}.encoder.layer.{{i}}"
    attention = [f"{block}.attention.attention.{part}" for part in ("query", "key", "value")]
    return (
        *conv(f"{before}.patch_embeddings.projection", "patch_embed"),
        *param(f"{before}.cls_token", "class_token/token"),
        *param(f"{before}.position_embeddings", "positions/table"),
        *norm(f"{block}.layernorm_before", "block{i}/norm1"),
        *fused_dense(attention, "block{i}/attn/qkv"),
        *dense(f"{block}.attention.output.dense", "block{i}/attn/proj"),
        *norm(f"{block}.layernorm_after", "block{i}/norm2"),
        *dense(f"{block}.intermediate.dense", "block{i}/mlp/fc1"),
        *dense(f"{block}.output.dense", "block{i}/mlp/fc2"),
        *norm(f"{prefix}.layernorm", "norm"),
        *(rule for source, target in heads.items() for rule in dense(source, target)),
        # A layer behind the class token that no classifier reads, and what masked pretraining needs.
        *ignore(f"{prefix}.pooler.*", f"{before}.mask_token", "decoder.*"),
    )


def has_tokens(shapes):
    """Whether a model, {path: shape}, is what transformers has: a class token, positions, and one layer as its head."""
    return {"class_token/token", "positions/table"} <= set(shapes) and "pre_logits/kernel" not in shapes


# Its positions move bicubically without antialiasing, at every call.
TRANSFORMERS = Layout(
    "transformers",
    transformers_rules("vit", {"classifier": "head"}),
    {"positions/table": positions(1, antialias=False)},
    has_tokens,
)


def flax_norm(source, target):
    """A norm of a Flax file; the GroupNorms of old ones have shape (1, 1, 1, C)."""
    scale = param(f"{source}/scale", f"{target}/gamma", np.ravel)
    return scale + param(f"{source}/bias", f"{target}/beta", np.ravel)


def flax(source, target):
    """Flax keeps kernels as Keras does."""
    return param(f"{source}/kernel", f"{target}/kernel") + param(f"{source}/bias", f"{target}/bias")


def _flax_rules(root):
    block, attention = f"{root}Transformer/encoderblock_{{i}}", "MultiHeadDotProductAttention_1"
    query, key, value = (f"{block}/{attention}/{part}" for part in ("query", "key", "value"))
    return (
        *flax(f"{root}embedding", "patch_embed"),
        *param(f"{root}cls", "class_token/token"),
        *param(f"{root}Transformer/posembed_input/pos_embedding", "positions/table"),
        *flax_norm(f"{block}/LayerNorm_0", "block{i}/norm1"),
        *fuse((f"{query}/kernel", f"{key}/kernel", f"{value}/kernel"), "block{i}/attn/qkv/kernel", merge_qkv_kernels),
        *fuse((f"{query}/bias", f"{key}/bias", f"{value}/bias"), "block{i}/attn/qkv/bias", merge_qkv_biases),
        *param(f"{block}/{attention}/out/kernel", "block{i}/attn/proj/kernel", lambda w: w.reshape(-1, w.shape[-1])),
        *param(f"{block}/{attention}/out/bias", "block{i}/attn/proj/bias"),
        *flax_norm(f"{block}/LayerNorm_2", "block{i}/norm2"),
        *flax(f"{block}/MlpBlock_3/Dense_0", "block{i}/mlp/fc1"),
        *flax(f"{block}/MlpBlock_3/Dense_1", "block{i}/mlp/fc2"),
        *flax_norm(f"{root}Transformer/encoder_norm", "norm"),
        *flax(f"{root}pre_logits", "pre_logits"),
        *flax(f"{root}head", "head"),
    )


def flax_layouts(before=lambda root: ()):
    """The JAX repository's npz files, whose names may begin with the path of a training state.

    Args:
        before: path in the training state -> rules of what comes before the patches.
    """
    # timm resizes the positions of these files linearly and without antialiasing, those of its own otherwise.
    resamplers = {"positions/table": positions(1, kernel="bilinear", antialias=False)}
    return tuple(
        Layout(name, (*before(root), *_flax_rules(root)), resamplers)
        for name, root in (("npz", ""), ("npz (opt/target)", "opt/target/"))
    )


def _move_line(table, shape, size, stored=None):
    """The positions of rows or of columns, (n, D / 2), to another number of them."""
    return interpolation_matrix(len(table), shape[0]) @ table


VIT = Family(
    name="ViT",
    paper="2010.11929",
    build=build,
    sides=sides,
    layouts=(TIMM, *flax_layouts(), TRANSFORMERS),
    resamplers={
        "positions/table": positions(1, 0),
        "positions/rows": _move_line,
        "positions/columns": _move_line,
        "patch_embed/kernel": patch_kernel,
    },
    preprocessing=INCEPTION,
    head=("head", "pre_logits"),
    configure=configure,
)

# Table 1 and, for Ti and S, arXiv:2106.10270, Table 2. Parameters at the native size with 1000 classes.
ViTTi16 = Variant("ViTTi16", VIT, Config(192, 12, 3, 16), 5_717_416, "vit_tiny_patch16_224")
ViTS32 = Variant("ViTS32", VIT, Config(384, 12, 6, 32), 22_878_952, "vit_small_patch32_224")
ViTS16 = Variant("ViTS16", VIT, Config(384, 12, 6, 16), 22_050_664, "vit_small_patch16_224")
ViTS8 = Variant("ViTS8", VIT, Config(384, 12, 6, 8), 22_055_272, "vit_small_patch8_224")
ViTB32 = Variant("ViTB32", VIT, Config(768, 12, 12, 32), 88_224_232, "vit_base_patch32_224")
ViTB16 = Variant("ViTB16", VIT, Config(768, 12, 12, 16), 86_567_656, "vit_base_patch16_224")
ViTB8 = Variant("ViTB8", VIT, Config(768, 12, 12, 8), 86_576_872, "vit_base_patch8_224")
ViTL32 = Variant("ViTL32", VIT, Config(1024, 24, 16, 32), 306_632_680, "vit_large_patch32_384")
ViTL16 = Variant("ViTL16", VIT, Config(1024, 24, 16, 16), 304_326_632, "vit_large_patch16_224")
ViTH14 = Variant("ViTH14", VIT, Config(1280, 32, 16, 14), 632_045_800, "vit_huge_patch14_224")

preprocess_input = family_preprocess_input(ViTB16)
