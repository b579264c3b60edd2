"""Attention inside windows -- Liu et al., Swin, arXiv:2103.14030, Sec. 3.2: biases by offset, masks of shifted maps.

Letters: B batch, H W grid, C channels, (M, L) window height and width, N = M L, n windows, h heads, d = C / h.
"""

import functools

import keras
import numpy as np
from keras import layers, ops

from keras_vit.layers.attention import scaled_dot_product_attention
from keras_vit.layers.heads import check_heads, merge_heads, split_heads
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.sizes import are_known, equal, sizes
from keras_vit.weights.resample import geometric_matrix


def _kept_for_numbers(function):
    """Makes a function keep what it made of numbers, for the backends that call it for every block of every batch.

    What it makes of tensors belongs to their graph.
    """
    kept = functools.cache(function)

    @functools.wraps(function)
    def made(*sizes):
        return kept(*sizes) if are_known(keras.tree.flatten(sizes)) else function(*sizes)

    return made


@_kept_for_numbers
def relative_position_index(window):
    """Row of the flattened bias table for every pair of pixels of a window (Sec. 3.2, "Relative position bias").

    The table has one row per offset, of (2M-1)(2L-1); entry (i, j) belongs to the offset of pixel i from pixel j.

    Args:
        window: (M, L), numbers or scalar tensors.

    Returns:
        (N, N) int32.
    """
    M, L = window
    pixels = _namespace(window).arange(M * L, dtype="int32")
    rows, columns = pixels // L, pixels % L
    down = rows[:, None] - rows[None] + M - 1
    right = columns[:, None] - columns[None] + L - 1
    return down * (2 * L - 1) + right


@_kept_for_numbers
def shift_mask(height, width, window, shift):
    """What is added to the scores so that pixels attend only within their part of a shifted image (Fig. 4).

    After the cyclic shift, a window at the lower or right border holds pixels that are no neighbours. Pixels are
    labelled by their part of the image along either axis; pairs with different labels get -100.

    Args:
        height, width: of the map, whole multiples of the window; numbers, or scalar tensors as all others.
        window, shift: (rows, columns); an axis that is not shifted separates nothing.

    Returns:
        (n, N, N) float32 of 0 and -100 (the published value; not -inf).
    """
    xp, (M, L) = _namespace((height, width)), window

    def labels(length, window, shift):
        position = xp.arange(length)
        part = xp.where(position >= length - window, 1, 0) + xp.where(position >= length - shift, 1, 0)
        return xp.where(shift > 0, part, 0)

    parts = labels(height, M, shift[0])[:, None] * 3 + labels(width, L, shift[1])
    parts = xp.reshape(parts, (height // M, M, width // L, L))
    parts = xp.reshape(xp.transpose(parts, (0, 2, 1, 3)), (-1, M * L))  # n N
    alike = xp.equal(parts[:, :, None], parts[:, None, :])
    return xp.where(alike, np.float32(0), np.float32(-100))


def _namespace(sizes):
    """What computes with sizes: numpy while a graph is made, or the graph itself."""
    return np if are_known(sizes) else ops


@keras.saving.register_keras_serializable("keras_vit")
class WindowAttention(layers.Layer):
    """softmax(q k^T / sqrt(d) + bias) v within each window, Eq. 4.

    Args:
        num_heads: heads h; must divide C.
        window_size: (M, L) of the windows that the table of biases is for, in pixels of the map.
        qkv_bias: whether the projection to q, k and v has a bias.
        largest: side of the largest windows; None for those of the table.
    Input:   windows (B n, N, C); for shifted windows, `allowed` (n, N, N); and the windows' own size, if it is not
        that of the table, which is resampled then.
    Output:  (B n, N, C).
    """

    def __init__(self, num_heads, window_size, qkv_bias=True, largest=None, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.window_size, self.qkv_bias = num_heads, tuple(window_size), qkv_bias
        self.largest = largest

    def build(self, x_shape, allowed_shape=None):
        C, (M, L) = x_shape[-1], self.window_size
        check_heads(self, C)
        dense = {"kernel_initializer": initial_normal(), "dtype": self.dtype_policy}
        self.qkv = layers.Dense(3 * C, use_bias=self.qkv_bias, name="qkv", **dense)
        self.proj = layers.Dense(C, name="proj", **dense)
        self.qkv.build(x_shape)
        self.proj.build(x_shape)
        table = (2 * M - 1, 2 * L - 1, self.num_heads)
        self.bias_table = self.add_weight(table, initial_normal(), name="bias_table", autocast=False)

    def call(self, x, allowed=None, window=None, training=False):  # Keras fills what is called `window_mask` itself
        q, k, v = (split_heads(t, self.num_heads) for t in ops.split(self.qkv(x), 3, axis=-1))  # B*n h N d
        bias = self.position_bias(window or self.window_size)  # 1 h N N
        if allowed is not None:
            bias = bias + ops.cast(ops.expand_dims(allowed, 1), bias.dtype)  # n h N N

        def add(scores, bias):  # each image gets the biases of its n windows; rank 4, as mobile runtimes like it
            n, _, _, N = sizes(ops.expand_dims(bias, 0))
            merged = ops.reshape(scores, (-1, n * self.num_heads, N, N))  # B n*h N N
            return ops.reshape(merged + ops.reshape(bias, (1, -1, N, N)), (-1, self.num_heads, N, N))

        return self.proj(
            merge_heads(scaled_dot_product_attention(q, k, v, q.shape[-1] ** -0.5, add, (bias,), training))
        )

    def position_bias(self, window):
        """(1, h, N, N), gathered from the table; `window` is (M, L) of numbers or scalar tensors."""
        table = self.bias_table if equal(window, self.window_size) else self.resampled_table(window)
        table = ops.reshape(ops.cast(table, self.compute_dtype), (-1, self.num_heads))
        index, N = relative_position_index(window), window[0] * window[1]
        bias = ops.take(table, ops.reshape(index, (-1,)), axis=0)  # N*N h
        return ops.reshape(ops.transpose(bias), (1, self.num_heads, N, N))

    def resampled_table(self, window):
        """The table for other windows, as `relative_position_bias` resamples it."""
        same = ops.logical_and(*(ops.equal(m, new) for m, new in zip(self.window_size, window)))
        rows, columns = (offsets_between(m, new, self.largest or m, same) for m, new in zip(self.window_size, window))
        old, new = 2 * self.window_size[1] - 1, 2 * window[1] - 1
        table = ops.reshape(ops.convert_to_tensor(self.bias_table), (-1, old * self.num_heads))
        table = ops.reshape(ops.matmul(rows, table), (-1, old, self.num_heads))
        return ops.reshape(ops.matmul(columns, table), (-1, new, self.num_heads))

    def compute_output_shape(self, x_shape, allowed_shape=None):
        return x_shape


def offsets_between(old, new, largest, same=False):
    """The matrix (2 M'-1, 2 M-1) that resamples biases of windows of side M to M'.

    Args:
        old: M.
        new: M', a number or a scalar tensor; a tensor is at most `largest`.
        largest: the largest M'.
        same: a scalar tensor, whether the windows are those of the table, which then stays: a side that alone is the
            same is resampled, and so a little moved, as in the reference loaders.
    """
    if are_known((new,)):
        return ops.convert_to_tensor(geometric_matrix(2 * old - 1, 2 * new - 1).astype("float32"))
    every = np.zeros((largest + 1, 2 * largest - 1, 2 * old - 1), "float32")
    for i in range(largest):
        every[i, : 2 * i + 1] = geometric_matrix(2 * old - 1, 2 * i + 1)
    every[largest, : 2 * old - 1] = np.eye(2 * old - 1)
    index = ops.where(same, largest, new - 1)
    return ops.take(ops.convert_to_tensor(every), index, axis=0)[: 2 * new - 1]


def windows_and_shift(grid, window_size, shifted):
    """Window and shift of a block on a map: no window exceeds the map, and one that covers an axis never shifts.

    Args:
        grid: (H, W), numbers or scalar tensors; None where it is not known yet, and taken to be large.
    """
    return tuple(zip(*(window_and_shift(side, window_size, shifted) for side in grid)))


def window_and_shift(side, window_size, shifted):
    """The same along an axis of the map."""
    if side is None:
        return window_size, window_size // 2 if shifted else 0
    if are_known((side,)):
        return min(window_size, side), window_size // 2 if shifted and side > window_size else 0
    return ops.minimum(window_size, side), ops.where(side > window_size, window_size // 2, 0) if shifted else 0
