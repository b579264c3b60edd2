"""Depthwise convolution, which for mobile runtimes can be split into parts that their kernels compute fast."""

import contextlib
import contextvars

import keras
from keras import layers, ops

# XNNPACK is slow above 25 taps: 27 take 6 to 13 times as long as 25. All 49 at once take 2.7 to 6.4 times as long as
# these parts of them, rows and columns (LiteRT 2.3, x86, one thread, ConvNeXt-T's maps of 7 to 56 pixels a side).
FIVE, TWO, ALL = slice(0, 5), slice(5, 7), slice(0, 7)
SIZE, PARTS = (7, 7), ((FIVE, FIVE), (FIVE, TWO), (TWO, ALL))

_IN_PARTS = contextvars.ContextVar("keras_vit_depthwise_in_parts", default=False)


@contextlib.contextmanager
def depthwise_in_parts():
    """Inside the context this thread traces depthwise convolutions of 7 x 7 as sums of three smaller ones."""
    token = _IN_PARTS.set(True)
    try:
        yield
    finally:
        _IN_PARTS.reset(token)


@keras.saving.register_keras_serializable("keras_vit")
class DepthwiseConv2D(layers.DepthwiseConv2D):
    """keras.layers.DepthwiseConv2D as the models have it: padding="same", stride 1, with a bias.

    Input:   (B, H, W, C); inside `depthwise_in_parts` H and W are static.      Output: (B, H, W, C).
    """

    def call(self, x):
        if not _IN_PARTS.get() or self.kernel_size != SIZE:
            return super().call(x)
        _, H, W, _ = x.shape
        x = ops.pad(x, [[0, 0], *((n // 2, n // 2) for n in SIZE), [0, 0]])
        total = self.bias  # the first part's operator adds it
        for rows, columns in PARTS:
            window = x[:, rows.start : rows.stop - 1 + H, columns.start : columns.stop - 1 + W]
            total = ops.depthwise_conv(window, self.kernel[rows, columns], padding="valid") + total
        return total
