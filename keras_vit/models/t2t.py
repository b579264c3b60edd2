"""Tokens-to-Token ViT (T2T-ViT) -- Yuan et al., ICCV 2021, arXiv:2101.11986.

The tokens-to-token module makes the patches in steps: overlapping windows of the map are unfolded into tokens (soft
split, Eq. 3), a small transformer mixes them (Eq. 1), the result is a map again, and so on (Fig. 3). Its own layers
attend with one head; the T2T-ViT models use a Performer there (arXiv:2009.14794), whose cost is linear in N, the
T2T-ViT_t models full attention. Behind it a deep and narrow ViT, with fixed sinusoid positions (Sec. 3.2).

Letters: B batch, H W grid, N = H W tokens, C channels, k window and s stride of a soft split, e width inside the
module, m random features, D width of the backbone (embed_dim), h heads, d = D / h, K classes.

Differences between the checkpoints and this file:
- PyTorch's unfold puts the channel first, (C, k, k); here windows are unfolded as they lie in memory, (k, k, C). The
  rules permute whatever reads unfolded tokens.
- The third soft split and the linear projection behind it are one convolution, `patch_embed`.
- The Performer splits its projection into k, q, v, in this order; its random features and the sinusoid table are
  entries of the files, and non-trainable weights here.
- T2T-ViT_t's module scales its scores by the width of its input, 147 ** -0.5 and 576 ** -0.5, not by e ** -0.5.
- The official `pretrained=True` scales the backbone's scores by D ** -0.5. The released weights were trained and
  measured with d ** -0.5, and that is what this file does.
"""

import functools
import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import initializers, layers, ops

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import (
    MLP,
    EncoderBlock,
    PositionEmbedding,
    PrependToken,
    drop_path_rates,
    scaled_dot_product_attention,
)
from keras_vit.layers.attention_hooks import report_attention
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.sizes import sizes
from keras_vit.layers.soft_split import SoftSplit
from keras_vit.layers.tokens import native_grid
from keras_vit.models.family import IMAGENET, Family, Variant, family_preprocess_input
from keras_vit.models.sides import Sides
from keras_vit.weights.resample import input_channels, positions
from keras_vit.weights.rules import Layout, dense, ignore, norm, param

EPSILON = 1e-5  # of every LayerNorm in the published code; the paper does not say
STRIDE = 4 * 2 * 2  # of the three soft splits together, in pixels
PERFORMER_EPSILON = 1e-8  # beside the normaliser of the Performer's attention


@dataclass(frozen=True)
class Config:
    """A row of Table 2."""

    embed_dim: int  # D
    depth: int  # blocks of the backbone
    num_heads: int  # h
    mlp_ratio: float  # hidden width of the backbone's MLP, in units of D
    performer: bool = True  # the module attends by a Performer; T2T-ViT_t has full attention
    token_dim: int = 64  # e
    performer_drop_rate: float = 0.1  # the published code trains every model with it, whatever its other rates


# Tokens to tokens ------------------------------------------------------------------------------------------------


def random_features(x, w):
    """exp(w x - |x|^2 / 2) / sqrt(m), Performer, Eq. 5, with w (m, e).  (B, N, e) -> (B, N, m)."""
    exponent = ops.matmul(x, ops.transpose(w)) - ops.sum(x * x, axis=-1, keepdims=True) / 2
    return ops.exp(exponent) / math.sqrt(w.shape[0])


def linear_attention(q, k, v):
    """Attention whose kernel is the inner product of features (Performer, Eq. 4), of cost linear in N.

    Positive features q, k (B, N, m) and values v (B, N, e) -> (B, N, e).
    """
    context = ops.matmul(ops.transpose(k, (0, 2, 1)), v)  # B m e
    total = ops.transpose(ops.sum(k, axis=1, keepdims=True), (0, 2, 1))  # B m 1
    normaliser = ops.matmul(q, total) + PERFORMER_EPSILON  # B N 1
    report_attention(lambda: (ops.expand_dims(q / normaliser, 1), ops.expand_dims(k, 1)))
    return ops.matmul(q, context) / normaliser


class TokenStep(layers.Layer):
    """One step of the T2T module (Eq. 1), with one head; the two kinds differ in their attention.

        q, k, v = LN(x) W,    y = v + attention(q, k, v) W',    out = y + MLP(LN(y))

    The skip comes from v: the input has another width.

    Args:
        embed_dim: width e.
        drop_rate: of the dropout behind both branches, in [0, 1).
    Input:   (B, H, W, C).      Output: (B, H, W, e).
    """

    qkv_name, qkv_bias = "qkv", True  # order of the files' projection, and whether it is biased

    def __init__(self, embed_dim, drop_rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.embed_dim, self.drop_rate = embed_dim, drop_rate

    def build(self, shape):
        dtype, C, e = self.dtype_policy, shape[-1], self.embed_dim
        init, name = initial_normal(), self.qkv_name
        self.norm1 = layers.LayerNormalization(epsilon=EPSILON, dtype=dtype, name="norm1")
        self.qkv = layers.Dense(3 * e, use_bias=self.qkv_bias, kernel_initializer=init, dtype=dtype, name=name)
        self.proj = layers.Dense(e, kernel_initializer=init, dtype=dtype, name="proj")
        self.norm2 = layers.LayerNormalization(epsilon=EPSILON, dtype=dtype, name="norm2")
        self.mlp = MLP(e, dtype=dtype, name="mlp")
        self.drop = layers.Dropout(self.drop_rate, dtype=dtype, name="drop")
        self.norm1.build((None, None, C))
        self.qkv.build((None, None, C))
        for part in (self.proj, self.norm2, self.mlp, self.drop):
            part.build((None, None, e))

    def call(self, x):
        H, W, C = sizes(x)
        x = ops.reshape(x, (-1, H * W, C))  # B N C
        attended, v = self.attention(*ops.split(self.qkv(self.norm1(x)), 3, axis=-1), width=C)  # B N e, twice
        x = v + self.drop(self.proj(attended))
        x = x + self.drop(self.mlp(self.norm2(x)))
        return ops.reshape(x, (-1, H, W, self.embed_dim))

    def compute_output_shape(self, shape):
        return (*shape[:3], self.embed_dim)


@keras.saving.register_keras_serializable("keras_vit")
class TokenPerformer(TokenStep):
    """The step of T2T-ViT: attention by a Performer.

    Features and attention are computed in float32, for their exponentials overflow in float16.
    """

    qkv_name = "kqv"

    def build(self, shape):
        super().build(shape)
        e, m = self.embed_dim, self.embed_dim // 2
        init = initializers.Orthogonal(gain=math.sqrt(m))  # rows of length sqrt(m)
        fixed = {"trainable": False, "autocast": False, "dtype": "float32"}
        self.features = self.add_weight((m, e), init, name="features", **fixed)

    def attention(self, k, q, v, width):
        """(B, N, e), three times -> the values attended to, and v."""
        w = ops.convert_to_tensor(self.features)
        k, q = (random_features(ops.cast(t, "float32"), w) for t in (k, q))  # B N m
        return ops.cast(linear_attention(q, k, ops.cast(v, "float32")), v.dtype), v


@keras.saving.register_keras_serializable("keras_vit")
class TokenTransformer(TokenStep):
    """The step of T2T-ViT_t: full attention, softmax(q k^T / sqrt(C)) v.

    The published code scales by the width C of the step's input, not of the queries.
    """

    qkv_bias = False

    def attention(self, q, k, v, width):
        """(B, N, e), three times -> the values attended to, and v."""
        one_head = (ops.expand_dims(t, 1) for t in (q, k, v))  # B 1 N e
        return ops.squeeze(scaled_dot_product_attention(*one_head, scale=width**-0.5), 1), v


# Backbone --------------------------------------------------------------------------------------------------------


@functools.cache
def sinusoid_table(length, width):
    """Positions as sines and cosines of falling frequency (arXiv:1706.03762, Sec. 3.5), interleaved.

    Entry (n, j) is the sine, for odd j the cosine, of n / 10000 ** (2 (j // 2) / width).

    Returns:
        (length, width) float32.
    """
    j = np.arange(width)
    angle = np.arange(length)[:, None] / 10000.0 ** (2 * (j // 2) / width)
    return np.where(j % 2 == 0, np.sin(angle), np.cos(angle)).astype("float32")


@keras.saving.register_keras_serializable("keras_vit")
class SinusoidPositions(PositionEmbedding):
    """Adds the sinusoid table, which is not trained; a weight because the checkpoints store it."""

    def make_table(self, shape):
        """The weight of the layer."""

        def table(shape, dtype=None):
            return ops.cast(sinusoid_table(*shape[1:])[None], dtype)

        return self.add_weight(shape, table, trainable=False, name="table", autocast=False)


def tokens_to_token(config, image):
    """Fig. 3: two steps of soft split and transformer, and a third soft split.  (B, H, W, 3) -> (B, H/16, W/16, D)."""
    step, rate = (TokenPerformer, config.performer_drop_rate) if config.performer else (TokenTransformer, 0.0)
    x = SoftSplit(7, 4, 2, name="split1")(image)  # B H/4 W/4 7*7*3
    x = step(config.token_dim, rate, name="tokens1")(x)
    x = SoftSplit(3, 2, 1, name="split2")(x)  # B H/8 W/8 3*3*e
    x = step(config.token_dim, rate, name="tokens2")(x)
    # A soft split and a linear map of its tokens: a convolution, with the symmetric padding of the split.
    x = layers.ZeroPadding2D(1, name="split3")(x)
    project = {"kernel_initializer": initial_normal(), "name": "patch_embed"}
    return layers.Conv2D(config.embed_dim, 3, strides=2, **project)(x)


def build_with(blocks, config, image, head, drop_path_rate):
    """A T2T module, a backbone of the given blocks, and the classifier.

    Args:
        blocks: function from tokens, config and drop_path_rate to tokens.
    """
    patches = tokens_to_token(config, image)
    x = layers.Reshape((-1, config.embed_dim), name="flatten_patches")(patches)  # B N D
    x = PrependToken(name="class_token")(x)  # B 1+N D
    x = SinusoidPositions(1, native_grid(STRIDE), name="positions")(x, patches)
    x = blocks(x, config, drop_path_rate)
    x = layers.LayerNormalization(epsilon=EPSILON, name="norm")(x)
    x = head.pool_tokens(x, patches)  # B D
    return head.classify(x) if head.include_top else x


def encoder(x, config, drop_path_rate):
    """The deep-narrow backbone, Eq. 4 and 5.  (B, 1+N, D) -> same."""
    block = {"epsilon": EPSILON, "qkv_bias": False}
    for i, rate in enumerate(drop_path_rates(drop_path_rate, config.depth)):
        x = EncoderBlock(config.num_heads, config.mlp_ratio, rate, name=f"block{i}", **block)(x)
    return x


def build(config, image, head, drop_path_rate=0.0):
    """Fig. 4, left to right: tokens to tokens, class token, positions, backbone, head.  (B, H, W, 3) -> (B, K)."""
    return build_with(encoder, config, image, head, drop_path_rate)


def sides(config):
    """Both sides must be multiples of the strides of the three soft splits together."""
    return Sides(STRIDE, "the stride of its three soft splits")


# Checkpoints -----------------------------------------------------------------------------------------------------


def window_order(array, kernel):
    """The axis of unfolded tokens, the last: PyTorch's (C, k, k) to (k, k, C)."""
    split = array.reshape(*array.shape[:-1], -1, kernel * kernel)
    return split.swapaxes(-1, -2).reshape(array.shape)


def _convolution(array):
    """The last soft split's projection, (D, e k k), as a kernel (k, k, e, D)."""
    return array.reshape(len(array), -1, 3, 3).transpose(2, 3, 1, 0)


def _token_rules(step, kernel):
    """Rules of one step of either module."""
    source, target = f"tokens_to_token.attention{step}", f"tokens{step}"
    order = functools.partial(window_order, kernel=kernel)
    return (
        *param(f"{source}.norm1.weight", f"{target}/norm1/gamma", order),
        *param(f"{source}.norm1.bias", f"{target}/norm1/beta", order),
        *param(f"{source}.kqv.weight", f"{target}/kqv/kernel", lambda w: order(w).T),
        *param(f"{source}.kqv.bias", f"{target}/kqv/bias"),
        *param(f"{source}.w", f"{target}/features"),
        *dense(f"{source}.proj", f"{target}/proj"),
        *dense(f"{source}.mlp.0", f"{target}/mlp/fc1"),
        *dense(f"{source}.mlp.2", f"{target}/mlp/fc2"),
        *param(f"{source}.attn.qkv.weight", f"{target}/qkv/kernel", lambda w: order(w).T),
        *dense(f"{source}.attn.proj", f"{target}/proj"),
        *dense(f"{source}.mlp.fc1", f"{target}/mlp/fc1"),
        *dense(f"{source}.mlp.fc2", f"{target}/mlp/fc2"),
        *norm(f"{source}.norm2", f"{target}/norm2"),
    )


def official_layout(block_rules=(), encoder="block{i}"):
    """The official files.

    Args:
        block_rules: for what a backbone's blocks have beside attention and MLP.
        encoder: path of a block's attention, MLP and norms.
    """
    block = "blocks.{i}"
    rules = (
        *_token_rules(1, 7),
        *_token_rules(2, 3),
        *param("tokens_to_token.project.weight", "patch_embed/kernel", _convolution),
        *param("tokens_to_token.project.bias", "patch_embed/bias"),
        *param("cls_token", "class_token/token"),
        *param("pos_embed", "positions/table"),
        *norm(f"{block}.norm1", f"{encoder}/norm1"),
        *dense(f"{block}.attn.qkv", f"{encoder}/attn/qkv"),
        *dense(f"{block}.attn.proj", f"{encoder}/attn/proj"),
        *norm(f"{block}.norm2", f"{encoder}/norm2"),
        *dense(f"{block}.mlp.fc1", f"{encoder}/mlp/fc1"),
        *dense(f"{block}.mlp.fc2", f"{encoder}/mlp/fc2"),
        *block_rules,
        *norm("norm", "norm"),
        *dense("head", "head"),
        *ignore("aux_head.*"),  # the auxiliary classifier of token labelling, arXiv:2104.10858
    )
    return Layout("official", rules)


def first_split_channels(array, shape, size, stored=None):
    """What reads the tokens of the first soft split, for another number of image channels.

    Kernels are adapted as a convolution's are. Scales and shifts of the LayerNorm repeat, or for one channel are
    averaged; its statistics are those of a repeated image.
    """
    if array.shape[1:] != tuple(shape[1:]) or len(array) % 49 or not len(array):
        return array  # another module: left as it is for the loader to refuse
    windows = array.reshape(7, 7, -1, *array.shape[1:])
    old, new = windows.shape[2], shape[0] // 49
    if array.ndim == 2:
        windows = input_channels(windows, (7, 7, new), size, stored)
    else:
        windows = windows.mean(axis=2, keepdims=True) if new == 1 else windows[:, :, np.arange(new) % old]
    return windows.reshape(shape)


def first_split_queries(kernel, shape, size, stored=None):
    """The same for T2T-ViT_t, whose scores are scaled by the width of the tokens: the queries make up for it."""
    adapted, e = first_split_channels(kernel, shape, size, stored), shape[1] // 3
    factor = math.sqrt(len(adapted) / max(len(kernel), 1))
    return np.concatenate([adapted[:, :e] * factor, adapted[:, e:]], axis=1)


RESAMPLERS = {
    "positions/table": positions(1, antialias=False),  # as the official fine-tuning does it
    "tokens1/norm1/*": first_split_channels,
    "tokens1/kqv/kernel": first_split_channels,
    "tokens1/qkv/kernel": first_split_queries,
}

T2T = Family(
    name="T2T-ViT",
    paper="2101.11986",
    build=build,
    sides=sides,
    layouts=(official_layout(),),
    resamplers=RESAMPLERS,
    preprocessing=IMAGENET,
)

# Table 2; 10 and 12 from the published code. Parameters at 224 pixels with 1000 classes, what is not trained included.
T2TViT7 = Variant("T2TViT7", T2T, Config(256, 7, 4, 2), 4_310_222, "t2t_vit_7")
T2TViT10 = Variant("T2TViT10", T2T, Config(256, 10, 4, 2), 5_889_230, "t2t_vit_10")
T2TViT12 = Variant("T2TViT12", T2T, Config(256, 12, 4, 2), 6_941_902, "t2t_vit_12")
T2TViT14 = Variant("T2TViT14", T2T, Config(384, 14, 6, 3), 21_545_550, "t2t_vit_14")
T2TViT19 = Variant("T2TViT19", T2T, Config(448, 19, 7, 3), 39_177_422, "t2t_vit_19")
T2TViT24 = Variant("T2TViT24", T2T, Config(512, 24, 8, 3), 64_105_934, "t2t_vit_24")
T2TViTT14 = Variant("T2TViTT14", T2T, Config(384, 14, 6, 3, performer=False), 21_541_070, "t2t_vit_t_14")
T2TViTT19 = Variant("T2TViTT19", T2T, Config(448, 19, 7, 3, performer=False), 39_172_942, "t2t_vit_t_19")
T2TViTT24 = Variant("T2TViTT24", T2T, Config(512, 24, 8, 3, performer=False), 64_101_454, "t2t_vit_t_24")

preprocess_input = family_preprocess_input(T2TViT14)
