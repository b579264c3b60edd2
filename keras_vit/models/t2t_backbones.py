"""T2T-ViT with other backbones -- Yuan et al., ICCV 2021, arXiv:2101.11986, Sec. 3.2, Table 1 and Table 8.

What the paper carried over from convolutional networks to see whether it helps a transformer: wider and fewer layers
(Wide, after WRN), more heads (ResNeXt), channel attention (SE, after arXiv:1709.01507), dense connections (Dense,
after arXiv:1608.06993) and features made from features (Ghost, after arXiv:1911.11907). The tokens-to-token module is
that of `keras_vit.models.t2t`. No weights were published; the layouts are those of the official code.

Letters: B batch, N tokens, C channels, D width (embed_dim), h heads, d = D / h, K classes.

Differences between the published code and the paper:
- The Ghost model has 16 blocks; the paper's table says 14, but its 16.3 M parameters need 16.
- Dense gives all blocks of a stage one drop path rate, the first few of twelve linearly spaced ones.
"""

from dataclasses import dataclass

import keras
from keras import initializers, layers, ops

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import (
    MLP,
    EncoderBlock,
    PreNormBlock,
    SelfAttention,
    drop_path,
    drop_path_rates,
    merge_heads,
    scaled_dot_product_attention,
    split_heads,
)
from keras_vit.layers.heads import check_heads
from keras_vit.layers.initializers import initial_normal
from keras_vit.models.family import IMAGENET, Family, Variant, family_preprocess_input
from keras_vit.models.t2t import EPSILON, RESAMPLERS, T2T, Config, build_with, official_layout, sides
from keras_vit.weights.rules import dense, param

SE_REDUCTION = 16  # arXiv:1709.01507, Sec. 6.1


# Squeeze and excitation ------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("keras_vit")
class ChannelAttention(layers.Layer):
    """x * sigmoid(W2 ReLU(W1 mean(x))), a mean over all tokens (SE, arXiv:1709.01507, Eq. 2-4).  (B, N, C) -> same."""

    def build(self, shape):
        C, dtype = shape[-1], self.dtype_policy
        part = {"use_bias": False, "kernel_initializer": initial_normal(), "dtype": dtype}
        self.squeeze = layers.Dense(C // SE_REDUCTION, activation="relu", name="squeeze", **part)
        self.excite = layers.Dense(C, activation="sigmoid", name="excite", **part)
        self.squeeze.build((None, 1, C))
        self.excite.build((None, 1, C // SE_REDUCTION))

    def call(self, x):
        return x * self.excite(self.squeeze(ops.mean(x, axis=1, keepdims=True)))

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("keras_vit")
class ChannelAttentionBlock(layers.Layer):
    """An encoder block with channel attention behind its self-attention (T2T-ViT-SE).

        z' = SE(MSA(LN(z))) + z,    z'' = MLP(LN(z')) + z'

    Args:
        num_heads: heads h; must divide C.
        mlp_ratio: hidden width of the MLP in units of C.
        drop_path_rate: probability, in [0, 1), of skipping a branch for a whole sample.
    Input:   (B, N, C).      Output: (B, N, C).
    """

    def __init__(self, num_heads, mlp_ratio, drop_path_rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.mlp_ratio, self.drop_path_rate = num_heads, mlp_ratio, drop_path_rate

    def build(self, shape):
        dtype = self.dtype_policy
        self.norm1 = layers.LayerNormalization(epsilon=EPSILON, dtype=dtype, name="norm1")
        self.attn = SelfAttention(self.num_heads, qkv_bias=False, dtype=dtype, name="attn")
        self.channels = ChannelAttention(dtype=dtype, name="channels")
        self.norm2 = layers.LayerNormalization(epsilon=EPSILON, dtype=dtype, name="norm2")
        self.mlp = MLP(int(self.mlp_ratio * shape[-1]), dtype=dtype, name="mlp")
        self.drop_path = drop_path(self.drop_path_rate, rank=3, dtype=dtype)
        for part in (self.norm1, self.attn, self.channels, self.norm2, self.mlp, self.drop_path):
            part.build(shape)

    def call(self, x):
        x = x + self.drop_path(self.channels(self.attn(self.norm1(x))))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def compute_output_shape(self, shape):
        return shape


# Ghost -----------------------------------------------------------------------------------------------------------


def ghost_scale(layer, width, name):
    """A factor per channel: a "cheap operation" of Ghost, in PyTorch a grouped convolution with its initial values."""
    return layer.add_weight((width,), initializers.RandomUniform(-1.0, 1.0), name=name)


@keras.saving.register_keras_serializable("keras_vit")
class GhostAttention(layers.Layer):
    """Self-attention that projects to half of q, k and v, and makes the other half by scaling the first per channel.

    Args:
        num_heads: heads h; must divide C.
    Input:   (B, N, C), C even.      Output: (B, N, C).

    Raises:
        ValueError: if C is odd or no multiple of num_heads.
    """

    def __init__(self, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, shape):
        C, dtype = shape[-1], self.dtype_policy
        check_heads(self, C)
        if C % 2:
            raise ValueError(f"{self.name}: expected an even number of channels. Received: {C}")
        init = initial_normal()
        half = {"units": C // 2, "use_bias": False, "kernel_initializer": init, "dtype": dtype}
        self.halves = [layers.Dense(name=name, **half) for name in "qkv"]
        self.proj = layers.Dense(C, kernel_initializer=init, dtype=dtype, name="proj")
        for part in (*self.halves, self.proj):
            part.build(shape)
        self.scales = [ghost_scale(self, C // 2, f"{name}_scale") for name in "qkv"]

    def call(self, x, training=False):
        halves = [half(x) for half in self.halves]  # B N C/2
        whole = [ops.concatenate([half, half * scale], axis=-1) for half, scale in zip(halves, self.scales)]
        q, k, v = (split_heads(t, self.num_heads) for t in whole)  # B h N d
        return self.proj(
            merge_heads(scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, training=training))
        )

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("keras_vit")
class GhostMLP(layers.Layer):
    """A perceptron whose hidden layer is y = GELU(fc1(x)) beside GELU(s2 y) and GELU(s3 y), three widths of the input.

    Shapes: (B, N, C) -> same.
    """

    def build(self, shape):
        C, dtype = shape[-1], self.dtype_policy
        init = initial_normal()
        self.fc1 = layers.Dense(C, kernel_initializer=init, dtype=dtype, name="fc1")
        self.fc2 = layers.Dense(C, kernel_initializer=init, dtype=dtype, name="fc2")
        self.fc1.build(shape)
        self.fc2.build((*shape[:-1], 3 * C))
        self.scale2, self.scale3 = (ghost_scale(self, C, f"scale{i}") for i in (2, 3))

    def call(self, x):
        y = ops.gelu(self.fc1(x), approximate=False)
        ghosts = [ops.gelu(y * scale, approximate=False) for scale in (self.scale2, self.scale3)]
        return self.fc2(ops.concatenate([y, *ghosts], axis=-1))

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("keras_vit")
class GhostBlock(PreNormBlock):
    """An encoder block with Ghost attention and Ghost MLP.  (B, N, C) -> same.

    Args:
        num_heads: heads h; must divide C.
        drop_path_rate: probability, in [0, 1), of skipping a branch for a whole sample.
    """

    epsilon = EPSILON

    def __init__(self, num_heads, drop_path_rate=0.0, **kwargs):
        super().__init__(drop_path_rate, **kwargs)
        self.num_heads = num_heads

    def make_attention(self):
        return GhostAttention(self.num_heads, dtype=self.dtype_policy, name="attn")

    def make_mlp(self, width):
        return GhostMLP(dtype=self.dtype_policy, name="mlp")


# Dense -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DenseConfig:
    """T2T-ViT-Dense, Sec. 3.2 and Table 8."""

    embed_dim: int = 128  # D of the first block
    depths: tuple[int, ...] = (3, 6, 6, 4)  # blocks per stage
    growth: int = 64  # channels that a block adds
    num_heads: int = 8  # h
    mlp_ratio: float = 2.0  # hidden width of the MLP, in units of C
    performer: bool = True  # as in t2t.Config
    token_dim: int = 64  # e
    performer_drop_rate: float = 0.1  # as in t2t.Config


@keras.saving.register_keras_serializable("keras_vit")
class DenseBlock(layers.Layer):
    """The input beside a projection of what an encoder block makes of it.  (B, N, C) -> (B, N, C + growth).

    Args:
        growth: channels added.
        num_heads, mlp_ratio, drop_path_rate: of the encoder block.
    """

    def __init__(self, growth, num_heads, mlp_ratio, drop_path_rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.growth, self.num_heads = growth, num_heads
        self.mlp_ratio, self.drop_path_rate = mlp_ratio, drop_path_rate

    def build(self, shape):
        dtype = self.dtype_policy
        block = {"epsilon": EPSILON, "qkv_bias": False, "dtype": dtype, "name": "encoder"}
        self.encoder = EncoderBlock(self.num_heads, self.mlp_ratio, self.drop_path_rate, **block)
        self.dense = layers.Dense(self.growth, kernel_initializer=initial_normal(), dtype=dtype, name="dense")
        self.encoder.build(shape)
        self.dense.build(shape)

    def call(self, x):
        return ops.concatenate([x, self.dense(self.encoder(x))], axis=-1)

    def compute_output_shape(self, shape):
        return (*shape[:-1], shape[-1] + self.growth)


# Backbones -------------------------------------------------------------------------------------------------------


def _channel_attention(x, config, drop_path_rate):
    for i, rate in enumerate(drop_path_rates(drop_path_rate, config.depth)):
        x = ChannelAttentionBlock(config.num_heads, config.mlp_ratio, rate, name=f"block{i}")(x)
    return x


def _ghost(x, config, drop_path_rate):
    if config.mlp_ratio != 3:
        raise ValueError(f"T2T-ViT-Ghost: its MLP has a mlp_ratio of 3. Received: mlp_ratio={config.mlp_ratio}")
    for i, rate in enumerate(drop_path_rates(drop_path_rate, config.depth)):
        x = GhostBlock(config.num_heads, rate, name=f"block{i}")(x)
    return x


def _dense(x, config, drop_path_rate):
    """Blocks that widen, and between stages a transition to half the width; numbered as in the official code."""
    rates, i = drop_path_rates(drop_path_rate, 12), 0
    for s, depth in enumerate(config.depths):
        if s > 0:
            # Keras' activation "gelu" is the exact one; its operation of that name is not.
            half = {"activation": "gelu", "kernel_initializer": initial_normal(), "name": f"transition{i}"}
            x, i = layers.Dense(x.shape[-1] // 2, **half)(x), i + 1
        for _ in range(depth):
            x = DenseBlock(config.growth, config.num_heads, config.mlp_ratio, rates[s], name=f"block{i}")(x)
            i += 1
    return x


def build_se(config, image, head, drop_path_rate=0.0):
    """T2T-ViT with channel attention.  (B, H, W, 3) -> (B, K)."""
    return build_with(_channel_attention, config, image, head, drop_path_rate)


def build_ghost(config, image, head, drop_path_rate=0.0):
    """T2T-ViT of Ghost blocks.  (B, H, W, 3) -> (B, K)."""
    return build_with(_ghost, config, image, head, drop_path_rate)


def build_dense(config, image, head, drop_path_rate=0.0):
    """T2T-ViT with dense connections.  (B, H, W, 3) -> (B, K)."""
    return build_with(_dense, config, image, head, drop_path_rate)


# Checkpoints -----------------------------------------------------------------------------------------------------


def _vector(source, target):
    """A grouped Conv1d of width one, [C, 1, 1], as a factor per channel."""
    return param(f"{source}.weight", target, lambda w: w.reshape(-1))


SE_RULES = (
    *dense("blocks.{i}.attn.se_layer.fc.0", "block{i}/channels/squeeze"),
    *dense("blocks.{i}.attn.se_layer.fc.2", "block{i}/channels/excite"),
)

GHOST_RULES = (
    *dense("blocks.{i}.attn.q", "block{i}/attn/q"),
    *dense("blocks.{i}.attn.k", "block{i}/attn/k"),
    *dense("blocks.{i}.attn.v", "block{i}/attn/v"),
    *_vector("blocks.{i}.attn.cheap_operation_q", "block{i}/attn/q_scale"),
    *_vector("blocks.{i}.attn.cheap_operation_k", "block{i}/attn/k_scale"),
    *_vector("blocks.{i}.attn.cheap_operation_v", "block{i}/attn/v_scale"),
    *_vector("blocks.{i}.mlp.cheap_operation2", "block{i}/mlp/scale2"),
    *_vector("blocks.{i}.mlp.cheap_operation3", "block{i}/mlp/scale3"),
)

DENSE_RULES = (
    *dense("blocks.{i}.dense_linear", "block{i}/dense"),
    *dense("blocks.{i}.linear", "transition{i}"),
)


def _family(name, build, layout):
    """A family that differs from T2T-ViT in its backbone."""
    shared = {"sides": sides, "resamplers": RESAMPLERS, "preprocessing": IMAGENET}
    return Family(name, "2101.11986", build, layouts=(layout,), **shared)


T2T_SE = _family("T2T-ViT-SE", build_se, official_layout(SE_RULES))
T2T_GHOST = _family("T2T-ViT-Ghost", build_ghost, official_layout(GHOST_RULES))
T2T_DENSE = _family("T2T-ViT-Dense", build_dense, official_layout(DENSE_RULES, encoder="block{i}/encoder"))

# Table 8 and the published code. Parameters at 224 pixels with 1000 classes, what is not trained included.
T2TViT14SE = Variant("T2TViT14SE", T2T_SE, Config(384, 14, 6, 3), 21_803_598, "t2t_vit_14_se")
T2TViT16Ghost = Variant("T2TViT16Ghost", T2T_GHOST, Config(384, 16, 6, 3), 16_253_262, "t2t_vit_16_ghost")
T2TViTDense = Variant("T2TViTDense", T2T_DENSE, DenseConfig(), 23_647_062, "t2t_vit_dense")
T2TViT14ResNeXt = Variant("T2TViT14ResNeXt", T2T, Config(384, 14, 32, 3), 21_545_550, "t2t_vit_14_resnext")
T2TViT14Wide = Variant("T2TViT14Wide", T2T, Config(768, 4, 12, 3), 25_156_302, "t2t_vit_14_wide")

preprocess_input = family_preprocess_input(T2TViT14SE)
