"""Transformer in Transformer (TNT) -- Han et al., NeurIPS 2021, arXiv:2103.00112.

Every 16 x 16 patch (the paper's visual sentence) is itself cut into 4 x 4 pixels (its visual words). In each block an
inner transformer mixes the pixels within their patch, a projection adds them to the patch's token, and an outer
transformer, ViT's, mixes the patches (Fig. 1, Sec. 2.2).

Letters: B batch, H W grid of patches, N = H W patches, m pixels per patch, C inner width, D outer width, h heads,
P patch side, K classes.

Differences between the checkpoints and this file:
- The published files keep q and k in one kernel and v in another; here the three are one.
- timm keeps the positions of the pixels as a map [1, C, 4, 4], the official files as a sequence [1, 16, C].
- The official files carry `outer_tokens`, zeros that nothing reads.
- TNTSLegacy is an earlier re-implementation with weights of its own. Its convolution runs over the whole image, so
  that patches see their neighbours, and its blocks normalise each pixel alone before the projection, not the
  projection's result.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import EncoderBlock, PositionEmbedding, PrependToken, drop_path_rates
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.sizes import derived, sizes
from keras_vit.layers.tokens import native_grid
from keras_vit.layers.windows import window_partition
from keras_vit.models import vit
from keras_vit.models.family import INCEPTION, Family, Variant, family_preprocess_input
from keras_vit.weights.resample import input_channels, positions
from keras_vit.weights.rules import Layout, Transform, conv, dense, fuse, ignore, norm, param

EPSILON = 1e-5  # of every LayerNorm in the published code; the paper does not say
STRIDE = 4  # side of a pixel of the inner transformer, in pixels of the image
MARGIN = 3  # zeros around what the 7 x 7 convolution reads, on every side


@dataclass(frozen=True)
class Config:
    """A row of Table 1."""

    embed_dim: int  # D, outer width
    depth: int  # L, blocks
    num_heads: int  # h of the outer transformer
    inner_dim: int  # C, inner width
    inner_heads: int  # h of the inner transformer
    patch_size: int = 16  # P, pixels
    mlp_ratio: float = 4.0  # hidden width of both MLPs, in units of C and D
    legacy: bool = False  # the earlier re-implementation that TNTSLegacy's weights belong to


def _convolution(embed_dim, dtype):
    init = initial_normal()
    return layers.Conv2D(embed_dim, 7, strides=STRIDE, kernel_initializer=init, dtype=dtype, name="proj")


def _with_margin(x):
    """Zeros on all four sides: "same" would put them elsewhere for a stride of 4."""
    return ops.pad(x, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))


def _all_patches(shape, patch_size):
    """B N, for the shape of images (B, H, W, C)."""
    return derived(lambda B, H, W: B * (H // patch_size) * (W // patch_size), *shape[:3])


@keras.saving.register_keras_serializable("keras_vit")
class PixelEmbed(layers.Layer):
    """Pixels of each patch: first cut the image into patches, then convolve each, 7 x 7 with a stride of 4 (Sec. 2.2).

    Args:
        embed_dim: C.
        patch_size: P, pixels of the image.
    Input:   (B, P H, P W, 3).      Output: (B N, m, C), patches and pixels row by row.
    """

    def __init__(self, embed_dim, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.embed_dim, self.patch_size = embed_dim, patch_size

    def build(self, shape):
        self.proj = _convolution(self.embed_dim, self.dtype_policy)
        margin = 2 * MARGIN
        self.proj.build((None, self.patch_size + margin, self.patch_size + margin, shape[-1]))

    def call(self, image):
        P = self.patch_size
        patches = window_partition(image, (P, P))  # B*N P*P 3
        patches = ops.reshape(patches, (-1, P, P, image.shape[-1]))  # B*N P P 3
        pixels = self.proj(_with_margin(patches))
        return ops.reshape(pixels, (-1, math.prod(pixels.shape[1:3]), self.embed_dim))  # B*N m C

    def compute_output_shape(self, shape):
        return (_all_patches(shape, self.patch_size), math.ceil(self.patch_size / STRIDE) ** 2, self.embed_dim)


@keras.saving.register_keras_serializable("keras_vit")
class LegacyPixelEmbed(layers.Layer):
    """Pixels of each patch: first convolve the whole image, 7 x 7 with a stride of 4, then cut the map into patches.

    Args:
        embed_dim: C.
        patch_size: P, pixels of the image, a multiple of 4.
    Input:   (B, P H, P W, 3).      Output: (B N, m, C), patches and pixels row by row.
    """

    def __init__(self, embed_dim, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.embed_dim, self.patch_size = embed_dim, patch_size

    def build(self, shape):
        self.proj = _convolution(self.embed_dim, self.dtype_policy)
        self.proj.build((None, None, None, shape[3]))

    def call(self, image):
        side = self.patch_size // STRIDE
        return window_partition(self.proj(_with_margin(image)), (side, side))  # B*N m C

    def compute_output_shape(self, shape):
        return (_all_patches(shape, self.patch_size), (self.patch_size // STRIDE) ** 2, self.embed_dim)


@keras.saving.register_keras_serializable("keras_vit")
class PixelsToPatches(layers.Layer):
    """The pixels of a patch, one after the other, become a token: LN(FC(LN(vec(Y)))), Sec. 2.2.

    Args:
        embed_dim: D.
        grid: how the patches are laid out, (H, W) or (N,); None where it is told with the pixels.
        use_bias: of the projection.
        patch_size: P, pixels of the image.
    Input:   (B N, m, C) and, without a grid, either the images (B, P H, P W, 3), of which the size alone is read, or
        the grid.
    Output:  (B, *grid, D).

    Note:
        The second norm is the published code's; the paper does not mention it.
    """

    def __init__(self, embed_dim, grid=None, use_bias=True, patch_size=None, **kwargs):
        super().__init__(**kwargs)
        self.embed_dim, self.grid, self.use_bias = embed_dim, grid and tuple(grid), use_bias
        self.patch_size = patch_size

    def build(self, pixels_shape, image_shape=None):
        dtype, init, words = self.dtype_policy, initial_normal(), pixels_shape[1] * pixels_shape[2]
        self.norm1 = layers.LayerNormalization(epsilon=EPSILON, dtype=dtype, name="norm1")
        self.proj = layers.Dense(
            self.embed_dim, use_bias=self.use_bias, kernel_initializer=init, dtype=dtype, name="proj"
        )
        self.norm2 = layers.LayerNormalization(epsilon=EPSILON, dtype=dtype, name="norm2")
        self.norm1.build((None, None, words))
        self.proj.build((None, None, words))
        self.norm2.build((None, None, self.embed_dim))

    def call(self, pixels, image=None, grid=None):
        if image is not None:
            grid = [side // self.patch_size for side in sizes(image)[:2]]
        words = ops.reshape(pixels, (-1, *(grid or self.grid), math.prod(pixels.shape[1:])))  # B H W m*C
        return self.norm2(self.proj(self.norm1(words)))

    def compute_output_shape(self, pixels_shape, image_shape=None):
        if image_shape is None:
            return (derived(lambda n: n // math.prod(self.grid), pixels_shape[0]), *self.grid, self.embed_dim)
        grid = [derived(lambda side: side // self.patch_size, side) for side in image_shape[1:3]]
        return (image_shape[0], *grid, self.embed_dim)


@keras.saving.register_keras_serializable("keras_vit")
class LegacyPixelsToPatches(layers.Layer):
    """FC(vec(LN(Y))) with a bias: each pixel is normalised by itself, the result is not.

    Args:
        embed_dim: D.
    Input:   (B N, m, C) and the grid (N,).      Output: (B, N, D).
    """

    def __init__(self, embed_dim, **kwargs):
        super().__init__(**kwargs)
        self.embed_dim = embed_dim

    def build(self, shape):
        dtype, init = self.dtype_policy, initial_normal()
        self.norm1 = layers.LayerNormalization(epsilon=EPSILON, dtype=dtype, name="norm1")
        self.proj = layers.Dense(self.embed_dim, kernel_initializer=init, dtype=dtype, name="proj")
        self.norm1.build(shape)
        self.proj.build((None, None, shape[1] * shape[2]))

    def call(self, pixels, grid):
        words = ops.reshape(self.norm1(pixels), (-1, *grid, math.prod(pixels.shape[1:])))  # B N m*C
        return self.proj(words)


@keras.saving.register_keras_serializable("keras_vit")
class TNTBlock(layers.Layer):
    """Inner transformer, projection of the pixels onto their patches, outer transformer (Fig. 1, Sec. 2.2).

    Args:
        num_heads: heads h of the outer transformer; must divide D.
        inner_heads: heads h of the inner transformer; must divide C.
        mlp_ratio: hidden width of both MLPs in units of C and D.
        drop_path_rate: probability, in [0, 1), of skipping a branch; of the inner transformer for a whole patch, of
            the outer one for a whole sample. The projection is never skipped.
        legacy: whether pixels reach patches by `LegacyPixelsToPatches`.
    Input:   tokens (B, 1 + N, D), pixels (B N, m, C).      Output: the same two.
    """

    def __init__(self, num_heads, inner_heads, mlp_ratio=4.0, drop_path_rate=0.0, legacy=False, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.inner_heads, self.mlp_ratio = (num_heads, inner_heads, mlp_ratio)
        self.drop_path_rate, self.legacy = drop_path_rate, legacy

    def build(self, x_shape, pixels_shape):
        dtype, D = self.dtype_policy, x_shape[-1]
        block = {"epsilon": EPSILON, "qkv_bias": False, "dtype": dtype}
        self.inner = EncoderBlock(self.inner_heads, self.mlp_ratio, self.drop_path_rate, name="inner", **block)
        if self.legacy:
            self.inject = LegacyPixelsToPatches(D, dtype=dtype, name="inject")
        else:
            self.inject = PixelsToPatches(D, use_bias=False, dtype=dtype, name="inject")
        self.outer = EncoderBlock(self.num_heads, self.mlp_ratio, self.drop_path_rate, name="outer", **block)
        self.inner.build(pixels_shape)
        self.inject.build(pixels_shape)
        self.outer.build(x_shape)

    def call(self, x, pixels):
        pixels = self.inner(pixels)
        patches = self.inject(pixels, grid=(sizes(x)[0] - 1,))
        x = x + ops.pad(patches, ((0, 0), (1, 0), (0, 0)))  # the class token has no pixels
        return self.outer(x), pixels

    def compute_output_shape(self, x_shape, pixels_shape):
        return x_shape, pixels_shape


def build(config, image, head, drop_path_rate=0.0):
    """Fig. 1: pixels, patches made of them, class token, positions, blocks, classifier.  (B, H, W, 3) -> (B, K)."""
    D, P = config.embed_dim, config.patch_size
    embed = LegacyPixelEmbed if config.legacy else PixelEmbed
    pixels = embed(config.inner_dim, P, name="pixel_embed")(image)  # B*N m C
    pixels = PositionEmbedding(name="pixel_positions")(pixels)
    patches = PixelsToPatches(D, patch_size=P, name="patch_embed")(pixels, image)  # B H W D
    x = layers.Reshape((-1, D), name="flatten_patches")(patches)  # B N D
    x = PrependToken(name="class_token")(x)  # B 1+N D
    x = PositionEmbedding(1, native_grid(P), name="positions")(x, patches)
    heads = (config.num_heads, config.inner_heads)
    for i, rate in enumerate(drop_path_rates(drop_path_rate, config.depth)):
        x, pixels = TNTBlock(*heads, config.mlp_ratio, rate, config.legacy, name=f"block{i}")(x, pixels)
    x = layers.LayerNormalization(epsilon=EPSILON, name="norm")(x)
    x = head.pool_tokens(x, patches)  # B D
    return head.classify(x) if head.include_top else x


# Checkpoints -----------------------------------------------------------------------------------------------------


def _pixel_positions(table):
    """[1, C, 4, 4] -> (1, 16, C); the official files have it so already."""
    return table.transpose(0, 2, 3, 1).reshape(1, -1, table.shape[1]) if table.ndim == 4 else table


def _pixel_map(table):
    """(1, 16, C) -> [1, C, 4, 4]."""
    side = math.isqrt(table.shape[1])
    return table.reshape(1, side, side, -1).transpose(0, 3, 1, 2)


PIXEL_POSITIONS = Transform(_pixel_positions, _pixel_map)
QK_V = Transform(  # [2 D, D] and [D, D] <-> (D, 3 D)
    lambda qk, v: np.concatenate([qk, v]).T, lambda kernel: tuple(np.split(kernel.T, [2 * len(kernel.T) // 3]))
)


def _encoder(source, target, norm1, attn, norm2, mlp):
    """The entries of an inner or outer transformer, under either layout's names."""
    return (
        *norm(f"{source}.{norm1}", f"{target}/norm1"),
        *fuse((f"{source}.{attn}.qk.weight", f"{source}.{attn}.v.weight"), f"{target}/attn/qkv/kernel", QK_V),
        *dense(f"{source}.{attn}.proj", f"{target}/attn/proj"),
        *norm(f"{source}.{norm2}", f"{target}/norm2"),
        *dense(f"{source}.{mlp}.fc1", f"{target}/mlp/fc1"),
        *dense(f"{source}.{mlp}.fc2", f"{target}/mlp/fc2"),
    )


def _layout(name, embed, tables, norms, inner, outer):
    source, target, (norm1, norm2) = "blocks.{i}", "block{i}", norms
    rules = (
        *conv(f"{embed}.proj", "pixel_embed/proj"),
        *param(f"{tables[0]}_pos", "pixel_positions/table", PIXEL_POSITIONS),
        *norm(norm1, "patch_embed/norm1"),
        *dense("proj", "patch_embed/proj"),
        *norm(norm2, "patch_embed/norm2"),
        *param("cls_token", "class_token/token"),
        *param(f"{tables[1]}_pos", "positions/table"),
        *_encoder(source, f"{target}/inner", *inner),
        *norm(f"{source}.{norm1}", f"{target}/inject/norm1"),
        *dense(f"{source}.proj", f"{target}/inject/proj"),
        *norm(f"{source}.{norm2}", f"{target}/inject/norm2"),
        *_encoder(source, f"{target}/outer", *outer),
        *norm("norm", "norm"),
        *dense("head", "head"),
        *ignore("outer_tokens"),  # zeros, read by nothing
    )
    return Layout(name, rules)


TIMM = _layout(
    "timm",
    embed="pixel_embed",
    tables=("pixel", "patch"),
    norms=("norm1_proj", "norm2_proj"),
    inner=("norm_in", "attn_in", "norm_mlp_in", "mlp_in"),
    outer=("norm_out", "attn_out", "norm_mlp", "mlp"),
)
OFFICIAL = _layout(
    "official",
    embed="patch_embed",
    tables=("inner", "outer"),
    norms=("proj_norm1", "proj_norm2"),
    inner=("inner_norm1", "inner_attn", "inner_norm2", "inner_mlp"),
    outer=("outer_norm1", "outer_attn", "outer_norm2", "outer_mlp"),
)

TNT = Family(
    name="TNT",
    paper="2103.00112",
    build=build,
    sides=vit.sides,
    layouts=(TIMM, OFFICIAL),
    resamplers={"positions/table": positions(1), "pixel_embed/proj/kernel": input_channels},
    preprocessing=INCEPTION,
)

# Table 1. Parameters at 224 pixels with 1000 classes. The Ti of the paper has neither code nor weights.
TNTTi = Variant("TNTTi", TNT, Config(192, 12, 3, 12, 2), 6_076_408, "tnt_ti_patch16_224")
TNTS = Variant("TNTS", TNT, Config(384, 12, 6, 24, 4), 23_768_584, "tnt_s_patch16_224")
TNTB = Variant("TNTB", TNT, Config(640, 12, 10, 40, 4), 65_428_680, "tnt_b_patch16_224")
TNTSLegacy = Variant("TNTSLegacy", TNT, Config(384, 12, 6, 24, 4, legacy=True), 23_755_336, "tnt_s_legacy_patch16_224")

preprocess_input = family_preprocess_input(TNTS)
