"""Cutting a map into windows and putting it together again (Swin, arXiv:2103.14030, Sec. 3.2).

Every step stays at rank 4: mobile runtimes take such graphs in one piece.
Letters: B batch, H W grid, C channels, (M, L) window height and width, n = (H/M)(W/L) windows.
"""

from keras import ops

from keras_vit.layers.sizes import sizes


def window_partition(x, window):
    """(B, H, W, C) -> (B*n, M*L, C); windows row by row within an image, pixels row by row within a window."""
    _, W, C = sizes(x)
    M, L = window
    x = ops.reshape(x, (-1, M, W // L, L * C))  # B*H/M M W/L L*C
    x = ops.transpose(x, (0, 2, 1, 3))  # B*H/M W/L M L*C
    return ops.reshape(x, (-1, M * L, C))  # B*n M*L C


def window_merge(x, window, height, width):
    """(B*n, M*L, C) -> (B, H, W, C), the inverse of `window_partition`."""
    C = x.shape[-1]
    M, L = window
    x = ops.reshape(x, (-1, width // L, M, L * C))  # B*H/M W/L M L*C
    x = ops.transpose(x, (0, 2, 1, 3))  # B*H/M M W/L L*C
    return ops.reshape(x, (-1, height, width, C))  # B H W C
