"""The soft split of T2T-ViT -- Yuan et al., arXiv:2101.11986, Eq. 3: overlapping windows unfolded into tokens.

Letters: B batch, H W grid, C channels, k window and s stride of a split.
"""

import keras
from keras import layers, ops

from keras_vit.layers.sizes import cut_map, derived, pad_map, sizes


def soft_split(x, kernel, stride, padding):
    """Every k x k window of a zero-padded map as one token (Eq. 3).  (B, H, W, C) -> (B, H', W', k k C).

    The padded map is seen as cells of s x s pixels; a window is the first k rows and columns of ceil(k / s) cells in
    each direction, so that all slices are contiguous. On 2 cores this took a third of the time of k * k strided
    slices, or less, in a TensorFlow graph and in TFLite; extracting patches is no builtin operator of the latter.
    """
    k, s = kernel, stride
    H, W, C = sizes(x)
    rows, columns = split_size(H, k, s, padding), split_size(W, k, s, padding)
    cells = -(-k // s)
    high, wide = rows + cells - 1, columns + cells - 1
    x = pad_map(x, (padding, s * high - H - padding), (padding, s * wide - W - padding))
    used = [min(s, k - s * a) for a in range(cells)]  # rows or columns of each cell inside the window
    x = ops.reshape(x, (-1, s * high, wide, s * C))
    parts = [cut_map(x, (0, s * high), (a, columns), n * C) for a, n in enumerate(used)]
    x = ops.concatenate(parts, axis=-1)  # B s*high W' k*C
    x = ops.reshape(x, (-1, s, columns, k * C))
    x = ops.transpose(x, (0, 2, 1, 3))  # B*high W' s k*C
    x = ops.reshape(x, (-1, high, columns, s * k * C))
    parts = [cut_map(x, (a, rows), (0, columns), n * k * C) for a, n in enumerate(used)]
    return ops.concatenate(parts, axis=-1)  # B H' W' k*k*C


def split_size(side, kernel, stride, padding):
    """Windows along an axis of the map."""
    return (side + 2 * padding - kernel) // stride + 1


@keras.saving.register_keras_serializable("keras_vit")
class SoftSplit(layers.Layer):
    """`soft_split` as a layer.  (B, H, W, C) -> (B, H', W', k k C)."""

    def __init__(self, kernel, stride, padding, **kwargs):
        super().__init__(**kwargs)
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def call(self, x):
        return soft_split(x, self.kernel, self.stride, self.padding)

    def split_size(self, side):
        """Windows along an axis of the map."""
        return split_size(side, self.kernel, self.stride, self.padding)

    def compute_output_shape(self, shape):
        H, W = (derived(self.split_size, side) for side in shape[1:3])
        return (shape[0], H, W, self.kernel**2 * shape[3])
