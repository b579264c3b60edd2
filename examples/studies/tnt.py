"""TNT, arXiv:2103.00112: with and without the inner transformer.

The paper compares with DeiT, which has none. Between the two is a model whose blocks add the pixels of each patch, but
without attention among the pixels.
"""

import keras
from keras import layers, ops

from examples.studies.study import Study, family
from keras_vit.layers import EncoderBlock, PositionEmbedding, PrependToken, drop_path_rates
from keras_vit.layers.sizes import sizes
from keras_vit.models import tnt, vit
from keras_vit.models.family import Variant

CONFIG = tnt.Config(64, 4, 4, 16, 2, patch_size=8, mlp_ratio=2)  # 4 x 4 patches of 2 x 2 pixels


@keras.saving.register_keras_serializable("examples")
class UnmixedBlock(tnt.TNTBlock):
    """A TNT block without its inner transformer: every block adds the same pixels to the patches.

    Input:   tokens (B, 1 + N, D), pixels (B N, m, C).      Output: the same two.
    """

    def build(self, x_shape, pixels_shape):
        dtype, D = self.dtype_policy, x_shape[-1]
        self.inject = tnt.PixelsToPatches(D, use_bias=False, dtype=dtype, name="inject")
        block = {"epsilon": tnt.EPSILON, "qkv_bias": False, "dtype": dtype, "name": "outer"}
        self.outer = EncoderBlock(self.num_heads, self.mlp_ratio, self.drop_path_rate, **block)
        self.inject.build(pixels_shape)
        self.outer.build(x_shape)

    def call(self, x, pixels):
        patches = self.inject(pixels, grid=(sizes(x)[0] - 1,))
        x = x + ops.pad(patches, ((0, 0), (1, 0), (0, 0)))  # the class token has no pixels
        return self.outer(x), pixels


def build_unmixed(config, image, head, drop_path_rate=0.0):
    """TNT with blocks that do not change the pixels.  (B, H, W, 3) -> (B, K)."""

    def blocks(x, pixels, rates):
        for i, rate in enumerate(rates):
            heads = (config.num_heads, config.inner_heads)
            x, pixels = UnmixedBlock(*heads, config.mlp_ratio, rate, name=f"block{i}")(x, pixels)
        return x

    return build_with(blocks, config, image, head, drop_path_rate)


def build_outer(config, image, head, drop_path_rate=0.0):
    """ViT's encoder on patches made of pixels once, at its input.  (B, H, W, 3) -> (B, K)."""

    def blocks(x, pixels, rates):
        block = {"epsilon": tnt.EPSILON, "qkv_bias": False}
        for i, rate in enumerate(rates):
            x = EncoderBlock(config.num_heads, config.mlp_ratio, rate, name=f"block{i}", **block)(x)
        return x

    return build_with(blocks, config, image, head, drop_path_rate)


def build_with(blocks, config, image, head, drop_path_rate):
    """Fig. 1 with other blocks, a function from tokens, pixels and drop-path rates to tokens."""
    D, P = config.embed_dim, config.patch_size
    pixels = tnt.PixelEmbed(config.inner_dim, P, name="pixel_embed")(image)  # B*N m C
    pixels = PositionEmbedding(name="pixel_positions")(pixels)
    patches = tnt.PixelsToPatches(D, patch_size=P, name="patch_embed")(pixels, image)  # B H W D
    x = layers.Reshape((-1, D), name="flatten_patches")(patches)  # B N D
    x = PrependToken(name="class_token")(x)  # B 1+N D
    x = PositionEmbedding(1, name="positions")(x, patches)
    x = blocks(x, pixels, drop_path_rates(drop_path_rate, config.depth))
    x = layers.LayerNormalization(epsilon=tnt.EPSILON, name="norm")(x)
    x = head.pool_tokens(x, patches)  # B D
    return head.classify(x) if head.include_top else x


def arm(name, build):
    """A variant whose model is built by `build`."""
    return Variant(name, family("TNT", "2103.00112", build, vit.sides), CONFIG)


STUDY = Study(
    name="tnt",
    title="TNT: the inner transformer",
    source="arXiv:2103.00112, Sec. 2.2, which adds it to a ViT",
    arms={
        "TNT": Variant("TNTWhole", tnt.TNT, CONFIG),
        "pixels added in every block, no inner transformer": arm("TNTUnmixed", build_unmixed),
        "outer transformer only": arm("TNTOuter", build_outer),
    },
)
