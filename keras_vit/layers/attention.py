"""Multi-head self-attention -- Vaswani et al., arXiv:1706.03762, as ViT uses it (arXiv:2010.11929, App. A).

What bounds the memory of the equation without changing it is in `keras_vit.layers.memory`.

Letters: B batch, N tokens, C channels, h heads, d = C / h.
"""

import keras
import numpy as np
from keras import layers, ops

from keras_vit.layers.attention_hooks import reported
from keras_vit.layers.heads import check_heads, merge_heads, split_heads
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.memory import memory_efficient


@memory_efficient
def scaled_dot_product_attention(q, k, v, scale, add=None, terms=()):
    """softmax(scale q k^T) v, over the last two axes of (B, h, N, d) tensors (Eq. 1).

    The softmax runs in float32 whatever the compute dtype: its exponentials overflow in float16.

    Args:
        q, k, v: queries, keys and values.
        scale: factor on the queries, d ** -0.5 in every paper of this library but for T2T's own module.
        add: optional function (scores (B, h, N, N), *terms) -> scores, for position biases and window masks.
        terms: the tensors that `add` works with. Gradients reach these and the weights of layers, no other tensors.
        training: whether to compute the scores again for the gradients, rather than keep them.

    Returns:
        (B, h, N, d), in the dtype of `v`.
    """
    scores = ops.matmul(q * scale, ops.transpose(k, (0, 1, 3, 2)))  # B h N N
    if add is not None:
        scores = add(scores, *terms)
    weights = reported(ops.softmax(ops.cast(scores, "float32"), axis=-1))
    return ops.matmul(ops.cast(weights, v.dtype), v)  # B h N d


@keras.saving.register_keras_serializable("keras_vit")
class SelfAttention(layers.Layer):
    """Multi-head self-attention with one fused projection to queries, keys and values (ViT, Eq. 5-8).

    Args:
        num_heads: heads h; must divide C.
        qkv_bias: whether the projection to q, k and v has a bias.
        relative_positions: whether each offset p_q - p_k between two places of the sequence has a learned key, one for
            all heads, whose scores are added to those of the tokens (ViT, App. D.4, "Relative").
    Input:   (B, N, C).      Output: (B, N, C).

    Raises:
        ValueError: if C is not a multiple of num_heads.
    """

    def __init__(self, num_heads, qkv_bias=True, relative_positions=False, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.qkv_bias = num_heads, qkv_bias
        self.relative_positions = relative_positions

    def build(self, shape):
        N, C = shape[1:]
        check_heads(self, C)
        if self.relative_positions and N is None:
            raise ValueError(f"{self.name}: relative positions need a sequence of known length. Received: {shape}")
        dense = {"kernel_initializer": initial_normal(), "dtype": self.dtype_policy}
        self.qkv = layers.Dense(3 * C, use_bias=self.qkv_bias, name="qkv", **dense)
        self.proj = layers.Dense(C, name="proj", **dense)
        self.qkv.build(shape)
        self.proj.build(shape)
        if self.relative_positions:
            d = C // self.num_heads
            self.offset_keys = self.add_weight((2 * N - 1, d), initial_normal(), name="offset_keys")

    def call(self, x, training=False):
        q, k, v = (split_heads(t, self.num_heads) for t in ops.split(self.qkv(x), 3, axis=-1))
        scale = q.shape[-1] ** -0.5
        relative = {"add": ops.add, "terms": (self.offset_scores(q * scale),)} if self.relative_positions else {}
        return self.proj(merge_heads(scaled_dot_product_attention(q, k, v, scale, **relative, training=training)))

    def offset_scores(self, q):
        """(B, h, N, d) -> (B, h, N, N)."""
        places = np.arange(q.shape[2])
        offsets = places[:, None] - places[None, :] + len(places) - 1  # 0: first query, last key
        return ops.einsum("bhqd,qkd->bhqk", q, ops.take(self.offset_keys, offsets, axis=0))

    def compute_output_shape(self, shape):
        return shape
