"""Swin, arXiv:2103.14030, Table 4: shifted against plain windows, and the relative position bias.

Windows have 2 x 2 patches instead of the paper's 7 x 7: a digit has 8 x 8 patches, so that stage 0 has sixteen windows,
the paper's sixty-four. A window that covers the whole map is not shifted.
"""

import math
from dataclasses import dataclass

import keras
from keras import layers, ops

from examples.studies.study import Study, family
from keras_vit.layers import MLP, drop_path, drop_path_rates
from keras_vit.layers.initializers import initial_normal
from keras_vit.models import swin
from keras_vit.models.family import Variant


@dataclass(frozen=True)
class Config(swin.Config):
    """A row of Table 4."""

    shifted: bool = True  # whether every second block shifts its windows
    position_bias: bool = True  # whether attention has a learned bias per offset of two patches


@keras.saving.register_keras_serializable("examples")
class UnbiasedWindowAttention(swin.WindowAttention):
    """softmax(q k^T / sqrt(d)) v within each window ("no pos.").  (B n, N, C) -> same."""

    def build(self, x_shape, allowed_shape=None):
        dense = {"kernel_initializer": initial_normal(), "dtype": self.dtype_policy}
        self.qkv = layers.Dense(3 * x_shape[-1], name="qkv", **dense)
        self.proj = layers.Dense(x_shape[-1], name="proj", **dense)
        self.qkv.build(x_shape)
        self.proj.build(x_shape)

    def position_bias(self, window):
        """(1, h, N, N) of zeros."""
        N = math.prod(window)
        return ops.zeros((1, self.num_heads, N, N), self.compute_dtype)


@keras.saving.register_keras_serializable("examples")
class UnbiasedSwinBlock(swin.SwinBlock):
    """A Swin block without positions.  (B, H, W, C) -> same."""

    def build(self, shape):
        dtype, C = self.dtype_policy, shape[-1]
        self.norm1 = layers.LayerNormalization(epsilon=swin.EPSILON, dtype=dtype, name="norm1")
        self.attn = UnbiasedWindowAttention(self.num_heads, self.window_size, dtype=dtype, name="attn")
        self.norm2 = layers.LayerNormalization(epsilon=swin.EPSILON, dtype=dtype, name="norm2")
        self.mlp = MLP(int(self.mlp_ratio * C), dtype=dtype, name="mlp")
        self.drop_path = drop_path(self.drop_path_rate, rank=4, dtype=dtype)
        self.attn.build((None, math.prod(self.window_size), C))
        for part in (self.norm1, self.norm2, self.mlp, self.drop_path):
            part.build(shape)


def build(config, image, head, drop_path_rate=0.0):
    """Fig. 3a, with the blocks of a row of Table 4.  (B, H, W, 3) -> (B, K)."""
    C, P = config.embed_dim, config.patch_size
    make_block = swin.SwinBlock if config.position_bias else UnbiasedSwinBlock
    x = layers.Conv2D(C, P, strides=P, kernel_initializer=initial_normal(), name="patch_embed")(image)
    x = layers.LayerNormalization(epsilon=swin.EPSILON, name="patch_norm")(x)  # B H W C
    rates = iter(drop_path_rates(drop_path_rate, sum(config.depths)))
    for s, (depth, num_heads) in enumerate(zip(config.depths, config.num_heads)):
        if s > 0:
            x = swin.PatchMerging(name=f"merge{s}")(x)  # B H/2 W/2 2C
        for b in range(depth):
            shifted = config.shifted and b % 2 == 1
            window, shift = swin.windows_and_shift(x.shape[1:3], config.window_size, shifted)
            x = make_block(num_heads, window, shift, config.mlp_ratio, next(rates), name=f"stage{s}_block{b}")(x)
    x = layers.LayerNormalization(epsilon=swin.EPSILON, name="norm")(x)
    x = head.pool_map(x)  # B C
    return head.classify(x) if head.include_top else x


FAMILY = family("Swin", "2103.14030", build, swin.sides)


def arm(name, **changes):
    """A variant that differs from Swin by the changes."""
    sizes = {"embed_dim": 48, "depths": (2, 2), "num_heads": (3, 6), "window_size": 2, "patch_size": 4, "mlp_ratio": 2}
    return Variant(name, FAMILY, Config(**sizes, **changes))


STUDY = Study(
    name="swin",
    title="Swin: shifted windows, and the relative position bias",
    source="arXiv:2103.14030, Table 4",
    arms={
        "without shifting": arm("SwinPlain", shifted=False),
        "no positions": arm("SwinUnbiased", position_bias=False),
        "shifted windows, relative position bias": arm("SwinShifted"),
    },
)
