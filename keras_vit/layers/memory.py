"""Attention in bounded memory: the same numbers as the equation's, with fewer scores kept at a time.

The scores (B, h, N, N) grow with the square of the number of tokens. For eight images of 448 pixels they take 5.0 GB
in T2TViTT14 and 3.8 GB in ViTB8; in chunks the whole forward pass stays within 4 GiB (`benchmarks/memory.py`). In
training every block would keep its scores for the backward pass. Computing them, and the GELU of each MLP, a second
time frees a quarter to two fifths of a step's memory at nearly the same time: ViTS16 from 2,559 to 1,655 MiB.

Letters: B batch, N tokens, h heads, d channels per head.
"""

import functools
import inspect
import math

import keras
from keras import ops

from keras_vit.layers.attention_hooks import observed

ASSUMED_BATCH = 8  # images; the batch is unknown when a graph is built
LARGEST_SCORES = 2**29  # bytes of float32 scores (B, h, N, N) beyond which queries are taken in chunks


def memory_efficient(equation):
    """Decorates an attention so that it keeps fewer scores at a time.

    - Where the scores would exceed LARGEST_SCORES, the queries come in chunks, one after the other, and the backward
      pass computes the scores of a chunk again.
    - In training the backward pass computes the scores again instead of keeping them.
    - An observer of the weights (`keras_vit.layers.attention_hooks`) gets them whole: there the equation runs as it is.

    Args:
        equation: function (q, k, v, scale, add=None, terms=()) -> (B, h, N, d) on tensors (B, h, N, d). With `add`
            the queries stay together.

    Returns:
        The same function with a further argument, training=False.
    """

    @functools.wraps(equation)
    def attend(q, k, v, scale, add=None, terms=(), training=False):
        if observed():
            return equation(q, k, v, scale, add, terms)
        if add is None and None in (q.shape[2], k.shape[2]):
            return _attend_to_unknown(equation, q, k, v, scale, training)
        chunks = 1 if add is not None else count_chunks(q.shape[1], q.shape[2], k.shape[2])
        if chunks > 1:
            return _attend_in_chunks(equation, q, k, v, scale, chunks)
        if training:
            return keras.remat(lambda q, k, v, *terms: equation(q, k, v, scale, add, terms))(q, k, v, *terms)
        return equation(q, k, v, scale, add, terms)

    attend.__signature__ = inspect.signature(attend, follow_wrapped=False)  # with `training`
    return attend


def count_chunks(num_heads, queries, keys):
    """Number of chunks of queries for which the scores of ASSUMED_BATCH images stay within LARGEST_SCORES."""
    return min(queries, math.ceil(ASSUMED_BATCH * num_heads * queries * keys * 4 / LARGEST_SCORES))


def _attend_in_chunks(equation, q, k, v, scale, chunks):
    """The equation with the scores of one chunk of queries alive at a time, in the backward pass as well.

    Nothing in the mathematics makes one chunk wait for another: TensorFlow's graph executor and XLA would run several
    at once and keep all their scores. So zeros that come from the result before are added to the queries of a chunk.
    """
    N = q.shape[2]
    size = math.ceil(N / chunks)
    attend_chunk = keras.remat(lambda q, k, v: equation(q, k, v, scale))
    results = []
    for start in range(0, N, size):
        queries = q[:, :, start : min(start + size, N)]
        if results:
            queries = queries + _zeros_after(results[-1])
        results.append(attend_chunk(queries, k, v))
    return ops.concatenate(results, axis=2)  # B h N d


def _attend_to_unknown(equation, q, k, v, scale, training):
    """The same where the graph does not know how many tokens there will be: it counts the chunks when it runs."""
    chunks = _chunks_of_unknown(q.shape[1], ops.shape(q)[2], ops.shape(k)[2])
    whole = keras.remat(lambda q, k, v: equation(q, k, v, scale)) if training else lambda *qkv: equation(*qkv, scale)
    return ops.cond(chunks > 1, lambda: _scan_chunks(equation, q, k, v, scale, chunks), lambda: whole(q, k, v))


def _chunks_of_unknown(num_heads, queries, keys):
    """`count_chunks` of scalar tensors, in floating point, since the bytes would exceed 32 bits."""
    scores = ops.cast(queries, "float32") * ops.cast(keys, "float32")
    chunks = ops.ceil(scores * (ASSUMED_BATCH * num_heads * 4 / LARGEST_SCORES))
    return ops.minimum(queries, ops.cast(chunks, "int32"))


def _scan_chunks(equation, q, k, v, scale, chunks):
    """As `_attend_in_chunks`, in a loop over a number of chunks that is a tensor."""
    h, N, d = q.shape[1], ops.shape(q)[2], q.shape[3]
    size = (N + chunks - 1) // chunks
    q = ops.pad(q, ((0, 0), (0, 0), (0, chunks * size - N), (0, 0)))
    q = ops.transpose(ops.reshape(q, (-1, h, chunks, size, d)), (2, 0, 1, 3, 4))  # chunks B h size d
    attend_chunk = keras.remat(lambda q, k, v: equation(q, k, v, scale))

    def step(before, queries):  # what is carried has the shape of the results: Keras asks for that on TensorFlow
        result = attend_chunk(queries + _zeros_after(before), k, v)
        return result, result

    _, results = ops.scan(step, ops.zeros_like(q[0, ..., :1]) + ops.zeros_like(v[:, :, :1]), q)
    results = ops.reshape(ops.transpose(results, (1, 2, 0, 3, 4)), (-1, h, chunks * size, v.shape[-1]))
    return results[:, :, :N]  # B h N d


def _zeros_after(x):
    """Zeros that no compiler can fold before `x` is computed, since `x` might be NaN.  (B, h, N, d) -> (B, h, 1, 1)."""
    first = x[:, :, :1, :1]
    return ops.where(ops.equal(first, first), ops.zeros_like(first), first)
