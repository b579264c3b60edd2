"""Swin Transformer -- Liu et al., ICCV 2021, arXiv:2103.14030.

Attention runs inside M x M windows (W-MSA); every second block shifts them by M // 2 (SW-MSA, Fig. 2), so that
neighbouring windows meet. Between stages, patch merging halves H and W and doubles C (Sec. 3.1, Fig. 3).

Letters: B batch, H W grid, C channels, (M, L) window height and width, N = M L, n windows, h heads, d = C / h,
K classes.

Differences between the checkpoints and this file:
- The official files count a merging layer to the stage before it, timm's to the stage after it.
- Patch merging concatenates the 2 x 2 neighbours column by column: the channel order of the published kernels.
- Relative position tables are stored as [(2M-1)^2, h]; here their grid is kept, (2M-1, 2L-1, h).
- Where a map is smaller than the window, the window shrinks with it, and where it is not a multiple of the window, it
  is padded on the right and below, after normalisation. The official code refuses such sizes, timm does this;
  transformers pads before it shifts (`Config.pad_first`).
"""

import math
from dataclasses import dataclass

import keras
from keras import layers, ops

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import MLP, drop_path, drop_path_rates
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.sizes import are_known, cut_map, halved, pad_map, sizes
from keras_vit.layers.window_attention import WindowAttention, shift_mask, window_and_shift, windows_and_shift
from keras_vit.layers.windows import window_merge, window_partition
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
from keras_vit.weights.patch_kernel import patch_kernel
from keras_vit.weights.resample import relative_position_bias
from keras_vit.weights.rules import Layout, Transform, conv, dense, fused_dense, ignore, norm, param

EPSILON = 1e-5  # of every LayerNorm in the published code; the paper does not say


@dataclass(frozen=True, repr=False)
class Config(Named):
    """A row of Sec. 3.3."""

    embed_dim: int  # C of the first stage
    depths: tuple[int, ...]  # blocks per stage
    num_heads: tuple[int, ...]  # h per stage; d = 32 throughout in the published models
    window_size: int = 7  # M, patches
    patch_size: int = 4  # pixels
    mlp_ratio: float = 4.0  # hidden width of the MLP, in units of C
    epsilon: float = later(EPSILON)  # of the blocks' LayerNorms and the last one; that of patches and merging is fixed
    qkv_bias: bool = later(True)  # whether the projection to q, k and v has a bias
    activation: str = later("gelu")  # of the MLP, of `keras_vit.layers.activations`
    pad_first: bool = later(False)  # whether a map is padded before it is shifted, as in transformers, not after it


@keras.saving.register_keras_serializable("keras_vit")
class SwinBlock(layers.Layer):
    """One half of Fig. 3b: (shifted) window attention, then MLP, each pre-norm and residual, Eq. 3.

    Args:
        num_heads: heads h; must divide C.
        window_size: (M, L) of the windows that the table of biases is for; smaller on a map that is smaller.
        shift: (rows, columns) of the cyclic shift; (0, 0) for W-MSA.
        mlp_ratio: hidden width of the MLP in units of C.
        drop_path_rate: probability, in [0, 1), of skipping a branch for a whole sample.
        epsilon: of both LayerNorms.
        qkv_bias: whether the projection to q, k and v has a bias.
        activation: of the MLP, of `ACTIVATIONS`.
        pad_first: whether a map that is no multiple of the window is padded before it is shifted, or after.
        largest: (side of the windows on any map that is large enough, whether they are shifted there); None for
            `window_size` and `shift`.
    Input:   (B, H, W, C).      Output: (B, H, W, C).
    """

    def __init__(
        self,
        num_heads,
        window_size,
        shift=(0, 0),
        mlp_ratio=4.0,
        drop_path_rate=0.0,
        epsilon=EPSILON,
        qkv_bias=True,
        activation="gelu",
        pad_first=False,
        largest=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads, self.window_size, self.shift = num_heads, tuple(window_size), tuple(shift)
        self.mlp_ratio, self.drop_path_rate = mlp_ratio, drop_path_rate
        self.epsilon, self.qkv_bias, self.activation, self.pad_first = epsilon, qkv_bias, activation, pad_first
        self.largest = largest and tuple(largest)

    def build(self, shape):
        dtype, C = self.dtype_policy, shape[-1]
        self.norm1 = layers.LayerNormalization(epsilon=self.epsilon, dtype=dtype, name="norm1")
        options = {"largest": self.largest and self.largest[0], "dtype": dtype, "name": "attn"}
        self.attn = WindowAttention(self.num_heads, self.window_size, self.qkv_bias, **options)
        self.norm2 = layers.LayerNormalization(epsilon=self.epsilon, dtype=dtype, name="norm2")
        self.mlp = MLP(int(self.mlp_ratio * C), self.activation, dtype=dtype, name="mlp")
        self.drop_path = drop_path(self.drop_path_rate, rank=4, dtype=dtype)
        self.attn.build((None, math.prod(self.window_size), C))
        for part in (self.norm1, self.norm2, self.mlp, self.drop_path):
            part.build(shape)

    def call(self, x):
        x = x + self.drop_path(self.windowed_attention(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def windowed_attention(self, x):
        """Shift, cut into windows, attend, put together, shift back (Fig. 4).  (B, H, W, C) -> same."""
        H, W, _ = sizes(x)
        window, shift = self.window_and_shift((H, W))
        padded = (H + -H % window[0], W + -W % window[1])
        pads, shifts = self.steps((H, W), padded, shift)
        allowed = shift_mask(*padded, window, shift) if shifts else None
        x = self.attn(self.cut(x), allowed=allowed, window=window)  # B*n N C
        x = window_merge(x, window, *padded)
        if pads and not self.pad_first:
            x = cut_map(x, (0, H), (0, W))
        x = ops.roll(x, shift, axis=(1, 2)) if shifts else x
        return cut_map(x, (0, H), (0, W)) if pads and self.pad_first else x

    def cut(self, x):
        """The windows of the map, shifted and padded.  (B, H, W, C) -> (B n, N, C)."""
        H, W, _ = sizes(x)
        window, shift = self.window_and_shift((H, W))
        bottom, right = -H % window[0], -W % window[1]
        pads, shifts = self.steps((H, W), (H + bottom, W + right), shift)
        if pads and self.pad_first:
            x = pad_map(x, (0, bottom), (0, right))
        if shifts:
            x = ops.roll(x, tuple(-step for step in shift), axis=(1, 2))
        if pads and not self.pad_first:
            x = pad_map(x, (0, bottom), (0, right))
        return window_partition(x, window)

    def steps(self, grid, padded, shift):
        """Whether a map is padded, and whether it is shifted; where its size is not known, it may be."""
        if are_known(grid):
            return padded != grid, any(shift)
        return True, self.largest[1] if self.largest else any(self.shift)

    def window_and_shift(self, grid):
        """(M, L) and (rows, columns) on a map of (H, W), numbers or scalar tensors."""
        if self.largest:
            return windows_and_shift(grid, *self.largest)
        parts = zip(grid, self.window_size, self.shift)
        return tuple(zip(*(window_and_shift(side, m, step > 0) for side, m, step in parts)))

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("keras_vit")
class PatchMerging(layers.Layer):
    """2 x 2 neighbours side by side, normalised and projected to twice the width (Sec. 3.1).

    Input:   (B, H, W, C); an odd side is padded with zeros.      Output: (B, ceil(H/2), ceil(W/2), 2 C).
    """

    def build(self, shape):
        C, dtype = shape[-1], self.dtype_policy
        self.norm = layers.LayerNormalization(epsilon=EPSILON, dtype=dtype, name="norm")
        init = initial_normal()
        self.reduction = layers.Dense(2 * C, use_bias=False, kernel_initializer=init, dtype=dtype, name="reduction")
        self.norm.build((*shape[:-1], 4 * C))
        self.reduction.build((*shape[:-1], 4 * C))

    def call(self, x):
        H, W, C = sizes(x)
        if not are_known((H, W)) or H % 2 or W % 2:
            x = pad_map(x, (0, H % 2), (0, W % 2))
        h, w = -(-H // 2), -(-W // 2)
        x = ops.reshape(x, (-1, 2, 2 * w, C))  # B*h row w*column C
        x = ops.transpose(x, (0, 2, 1, 3))  # B*h w*column row C
        return self.reduction(self.norm(ops.reshape(x, (-1, h, w, 4 * C))))

    def compute_output_shape(self, shape):
        return (shape[0], halved(shape[1]), halved(shape[2]), 2 * shape[3])


def pads_what_it_shifts(config, height, width):
    """Whether some map is padded and shifted, for which it matters which of both comes first."""
    grid = (height // config.patch_size, width // config.patch_size)
    for depth in config.depths:
        window, shift = windows_and_shift(grid, config.window_size, shifted=depth > 1)
        if any(shift) and any(side % m for side, m in zip(grid, window)):
            return True
        grid = tuple(-(-side // 2) for side in grid)
    return False


def build(config, image, head, drop_path_rate=0.0):
    """Fig. 3a, left to right: patches, four stages with merging between them, classifier.  (B, H, W, 3) -> (B, K)."""
    C, P = config.embed_dim, config.patch_size
    x = layers.Conv2D(C, P, strides=P, kernel_initializer=initial_normal(), name="patch_embed")(image)
    x = layers.LayerNormalization(epsilon=EPSILON, name="patch_norm")(x)  # B H W C
    rates = iter(drop_path_rates(drop_path_rate, sum(config.depths)))
    names = ("epsilon", "qkv_bias", "activation", "pad_first")
    options = differing(SwinBlock, **{name: getattr(config, name) for name in names})
    for s, (depth, num_heads) in enumerate(zip(config.depths, config.num_heads)):
        if s > 0:
            x = PatchMerging(name=f"merge{s}")(x)  # B H/2 W/2 2C
        for b in range(depth):
            M, shifted = config.window_size, b % 2 == 1
            window, shift = windows_and_shift(x.shape[1:3], M, shifted)
            on_large_maps = windows_and_shift((None, None), M, shifted)
            largest = None if (window, shift) == on_large_maps else (M, shifted)
            where = (window, shift, config.mlp_ratio, next(rates))
            x = SwinBlock(num_heads, *where, largest=largest, name=f"stage{s}_block{b}", **options)(x)
    x = layers.LayerNormalization(epsilon=config.epsilon, name="norm")(x)
    x = head.pool_map(x)  # B C
    return head.classify(x) if head.include_top else x


def sides(config):
    """Both sides must be whole numbers of patches; windows and merging pad by themselves."""
    return Sides(config.patch_size, "the patch size")


# Checkpoints -----------------------------------------------------------------------------------------------------


def _bias_table(table):
    """[(2M-1)^2, h] -> (2M-1, 2M-1, h)."""
    side = math.isqrt(len(table))
    return table.reshape(side, side, -1) if side * side == len(table) else table


BIAS_TABLE = Transform(_bias_table, lambda table: table.reshape(-1, table.shape[-1]))


def _layout(name, merge, head):
    """timm's and the official files differ in where merging is counted and in the classifier's name."""
    source, target = "layers.{s}.blocks.{b}", "stage{s}_block{b}"
    rules = (
        *conv("patch_embed.proj", "patch_embed"),
        *norm("patch_embed.norm", "patch_norm"),
        *norm(f"{source}.norm1", f"{target}/norm1"),
        *dense(f"{source}.attn.qkv", f"{target}/attn/qkv"),
        *dense(f"{source}.attn.proj", f"{target}/attn/proj"),
        *param(f"{source}.attn.relative_position_bias_table", f"{target}/attn/bias_table", BIAS_TABLE),
        *norm(f"{source}.norm2", f"{target}/norm2"),
        *dense(f"{source}.mlp.fc1", f"{target}/mlp/fc1"),
        *dense(f"{source}.mlp.fc2", f"{target}/mlp/fc2"),
        *norm("layers.{s}.downsample.norm", f"{merge}/norm"),
        *dense("layers.{s}.downsample.reduction", f"{merge}/reduction"),
        *norm("norm", "norm"),
        *dense(head, "head"),
        *ignore("*.relative_position_index", "*.attn_mask"),  # recomputed from M
    )
    return Layout(name, rules)


def _transformers():
    """transformers' names; a merging layer counts to the stage before it, as in the official files."""
    source, target = "swin.encoder.layers.{s}.blocks.{b}", "stage{s}_block{b}"
    attention = f"{source}.attention.self"
    rules = (
        *conv("swin.embeddings.patch_embeddings.projection", "patch_embed"),
        *norm("swin.embeddings.norm", "patch_norm"),
        *norm(f"{source}.layernorm_before", f"{target}/norm1"),
        *fused_dense([f"{attention}.{part}" for part in ("query", "key", "value")], f"{target}/attn/qkv"),
        *param(f"{attention}.relative_position_bias_table", f"{target}/attn/bias_table", BIAS_TABLE),
        *dense(f"{source}.attention.output.dense", f"{target}/attn/proj"),
        *norm(f"{source}.layernorm_after", f"{target}/norm2"),
        *dense(f"{source}.intermediate.dense", f"{target}/mlp/fc1"),
        *dense(f"{source}.output.dense", f"{target}/mlp/fc2"),
        *norm("swin.encoder.layers.{s}.downsample.norm", "merge{s+1}/norm"),
        *dense("swin.encoder.layers.{s}.downsample.reduction", "merge{s+1}/reduction"),
        *norm("swin.layernorm", "norm"),
        *dense("classifier", "head"),
        # Recomputed from M; of masked pretraining.
        *ignore("*.relative_position_index", "swin.embeddings.mask_token", "decoder.*"),
    )
    return Layout("transformers", rules)


SWIN = Family(
    name="Swin",
    paper="2103.14030",
    build=build,
    sides=sides,
    layouts=(_layout("timm", "merge{s}", "head.fc"), _layout("official", "merge{s+1}", "head"), _transformers()),
    resamplers={"*/attn/bias_table": relative_position_bias, "patch_embed/kernel": patch_kernel},
    preprocessing=IMAGENET,
)

# Sec. 3.3; B and L also with windows of 12 for 384 pixels (Table 1). Parameters at the native size, 1000 classes.
SwinT = Variant("SwinT", SWIN, Config(96, (2, 2, 6, 2), (3, 6, 12, 24)), 28_288_354, "swin_tiny_patch4_window7_224")
SwinS = Variant("SwinS", SWIN, Config(96, (2, 2, 18, 2), (3, 6, 12, 24)), 49_606_258, "swin_small_patch4_window7_224")
SwinB = Variant("SwinB", SWIN, Config(128, (2, 2, 18, 2), (4, 8, 16, 32)), 87_768_224, "swin_base_patch4_window7_224")
SwinL = Variant(
    "SwinL", SWIN, Config(192, (2, 2, 18, 2), (6, 12, 24, 48)), 196_532_476, "swin_large_patch4_window7_224"
)
SwinB384 = Variant(
    "SwinB384", SWIN, Config(128, (2, 2, 18, 2), (4, 8, 16, 32), 12), 87_903_584, "swin_base_patch4_window12_384"
)
SwinL384 = Variant(
    "SwinL384", SWIN, Config(192, (2, 2, 18, 2), (6, 12, 24, 48), 12), 196_735_516, "swin_large_patch4_window12_384"
)

preprocess_input = family_preprocess_input(SwinT)
