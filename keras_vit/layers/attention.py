"""Multi-head self-attention -- Vaswani et al., arXiv:1706.03762, as ViT uses it (arXiv:2010.11929, App. A).

Letters: B batch, N tokens, C channels, h heads, d = C / h.
"""

import math

import keras
import numpy as np
from keras import layers, ops

from keras_vit.layers.initial import initial_normal
from keras_vit.layers.observe import observed, report_attention

ASSUMED_BATCH = 8  # images; the batch is unknown when a graph is built
LARGEST_SCORES = 2**29  # bytes of float32 scores (B, h, N, N) beyond which queries are taken in chunks


def split_heads(x, num_heads):
    """(B, N, C) -> (B, h, N, d); channels are ordered head by head, as in every published checkpoint."""
    N, C = x.shape[1:]
    x = ops.reshape(x, (-1, N, num_heads, C // num_heads))  # B N h d
    return ops.transpose(x, (0, 2, 1, 3))  # B h N d


def merge_heads(x):
    """(B, h, N, d) -> (B, N, C), the inverse of `split_heads`."""
    h, N, d = x.shape[1:]
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, N, h * d))  # B N C


def attend(q, k, v, scale, add=None, terms=(), training=False):
    """softmax(scale q k^T) v, over the last two axes of (B, h, N, d) tensors (Eq. 1).

    The softmax runs in float32 whatever the compute dtype: its exponentials overflow in float16.
    Where the scores would exceed LARGEST_SCORES, the queries come in chunks, one after the other, and the backward
    pass computes the scores of a chunk again instead of keeping them. Whoever observes the weights gets them whole.

    Args:
        scale: factor on the queries, d ** -0.5 in every paper of this library but for T2T's own module.
        add: optional function (scores (B, h, N, N), *terms) -> scores, for position biases and window masks; with it
            the queries stay together.
        terms: the tensors that `add` works with. Gradients reach these and the weights of layers, no other tensors.
        training: whether the backward pass is to compute the scores again, rather than to keep them for it.
    """
    if observed():
        return _attend(q, k, v, scale, add, terms)
    chunks = 1 if add is not None else count_chunks(q.shape[1], q.shape[2], k.shape[2])
    if chunks > 1:
        return _attend_in_chunks(q, k, v, scale, chunks)
    if training:
        return keras.remat(lambda q, k, v, *terms: _attend(q, k, v, scale, add, terms))(q, k, v, *terms)
    return _attend(q, k, v, scale, add, terms)


def count_chunks(num_heads, queries, keys):
    """How many chunks the queries come in, for the scores of ASSUMED_BATCH images to stay within LARGEST_SCORES."""
    return min(queries, math.ceil(ASSUMED_BATCH * num_heads * queries * keys * 4 / LARGEST_SCORES))


def _attend(q, k, v, scale, add=None, terms=()):
    scores = ops.matmul(q * scale, ops.transpose(k, (0, 1, 3, 2)))  # B h N N
    if add is not None:
        scores = add(scores, *terms)
    weights = ops.softmax(ops.cast(scores, "float32"), axis=-1)
    report_attention(lambda: (weights,))
    return ops.matmul(ops.cast(weights, v.dtype), v)  # B h N d


def _attend_in_chunks(q, k, v, scale, chunks):
    """`_attend`, with the scores of only one chunk of queries alive at a time, in the backward pass as well.

    Nothing in the mathematics makes one chunk wait for another: TensorFlow's graph executor and XLA would run several
    at once, and keep their scores. So each chunk is handed a zero that comes from the result before.
    """
    N = q.shape[2]
    size = math.ceil(N / chunks)
    attend_chunk = keras.remat(lambda q, k, v: _attend(q, k, v, scale))
    results = []
    for start in range(0, N, size):
        queries = q[:, :, start : min(start + size, N)]
        if results:
            queries = queries + _zero_after(results[-1])
        results.append(attend_chunk(queries, k, v))
    return ops.concatenate(results, axis=2)  # B h N d


def _zero_after(x):
    """Zeros that no compiler can know before `x` is computed, for it might be NaN.  (B, h, N, d) -> (B, h, 1, 1)."""
    first = x[:, :, :1, :1]
    return ops.where(ops.equal(first, first), ops.zeros_like(first), first)


@keras.saving.register_keras_serializable("keras_vit")
class SelfAttention(layers.Layer):
    """Multi-head self-attention with one fused projection to queries, keys and values (ViT, Eq. 5-8).

    Args:
        num_heads: heads h; must divide C.
        qkv_bias: whether the projection to q, k and v has a bias.
        relative_positions: whether each offset p_q - p_k between two places of the sequence has a learned key, one for
            all heads, whose scores are added to those of the tokens (ViT, App. D.4, "Relative").
    Input:   (B, N, C).      Output: (B, N, C).
    Raises:  ValueError if C is not a multiple of num_heads.
    """

    def __init__(self, num_heads, qkv_bias=True, relative_positions=False, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.qkv_bias = num_heads, qkv_bias
        self.relative_positions = relative_positions

    def build(self, shape):
        N, C = shape[1:]
        if C % self.num_heads:
            raise ValueError(
                f"{self.name}: num_heads must divide the {C} channels. " f"Received: num_heads={self.num_heads}"
            )
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
        return self.proj(merge_heads(attend(q, k, v, scale, **relative, training=training)))

    def offset_scores(self, q):
        """(B, h, N, d) -> (B, h, N, N)."""
        places = np.arange(q.shape[2])
        offsets = places[:, None] - places[None, :] + len(places) - 1  # 0: first query, last key
        return ops.einsum("bhqd,qkd->bhqk", q, ops.take(self.offset_keys, offsets, axis=0))

    def compute_output_shape(self, shape):
        return shape
