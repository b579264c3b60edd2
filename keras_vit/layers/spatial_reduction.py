"""Spatial-reduction attention -- Wang et al., PVT, arXiv:2102.12122, Sec. 3.3.

Letters: B batch, H W grid, N tokens, C channels, h heads, d = C / h, R reduction ratio.
"""

import functools
import operator

import keras
from keras import layers, ops

from keras_vit.layers.attention import scaled_dot_product_attention
from keras_vit.layers.heads import check_heads, merge_heads, split_heads
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.sizes import sizes

EPSILON = 1e-5  # of the norm after the reduction in the published code, whatever the blocks' own


def flatten_map(x):
    """(B, H, W, C) -> (B, H W, C); a sequence stays as it is."""
    inner = sizes(x)[:-1]
    return ops.reshape(x, (-1, functools.reduce(operator.mul, inner), x.shape[-1]))  # B N C


def attend_to(queries, keys_values, num_heads, training=False):
    """Multi-head attention of one set of tokens to another.  (B, N, C), (B, n, 2 C) -> (B, N, C)."""
    q = split_heads(queries, num_heads)  # B h N d
    k, v = (split_heads(t, num_heads) for t in ops.split(keys_values, 2, axis=-1))  # B h n d
    return merge_heads(scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, training=training))


@keras.saving.register_keras_serializable("keras_vit")
class SpatialReductionAttention(layers.Layer):
    """Queries from every token, keys and values from a map R times smaller along both sides (Eq. 1-3).

        SRA(x) = Attention(x Wq, SR(x) Wk, SR(x) Wv) Wo,    SR(x) = LN(conv(x)), R x R with a stride of R

    Args:
        num_heads: heads h; must divide C.
        reduction: R; 1 is plain attention.
        epsilon: of the norm after the reduction.
        qkv_bias: whether the projections to q, k and v have biases.
    Input:   (B, H, W, C), or with R = 1 also (B, N, C).      Output: as the input.

    Raises:
        ValueError: if C is not a multiple of num_heads, or a sequence is to be reduced.
    """

    def __init__(self, num_heads, reduction=1, epsilon=EPSILON, qkv_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.reduction = num_heads, reduction
        self.epsilon, self.qkv_bias = epsilon, qkv_bias

    def build(self, shape):
        C, R, dtype = shape[-1], self.reduction, self.dtype_policy
        check_heads(self, C)
        if R > 1 and len(shape) != 4:
            raise ValueError(f"{self.name}: expected a map (B, H, W, C) for reduction={R}. Received: {shape}")
        dense = {"kernel_initializer": initial_normal(), "dtype": dtype}
        self.q = layers.Dense(C, use_bias=self.qkv_bias, name="q", **dense)
        self.kv = layers.Dense(2 * C, use_bias=self.qkv_bias, name="kv", **dense)
        self.proj = layers.Dense(C, name="proj", **dense)
        for part in (self.q, self.kv, self.proj):
            part.build(shape)
        if R > 1:
            self.sr = layers.Conv2D(C, R, strides=R, name="sr", **dense)
            self.norm = layers.LayerNormalization(epsilon=self.epsilon, dtype=dtype, name="norm")
            self.sr.build(shape)
            self.norm.build(shape)

    def call(self, x, training=False):
        reduced = self.norm(self.sr(x)) if self.reduction > 1 else x  # B H/R W/R C
        attended = attend_to(flatten_map(self.q(x)), flatten_map(self.kv(reduced)), self.num_heads, training)  # B N C
        return ops.reshape(self.proj(attended), (-1, *sizes(x)))  # B H W C

    def compute_output_shape(self, shape):
        return shape
