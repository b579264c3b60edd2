"""Interpolation of tokens from the grid of one scale to that of another (CoaT, arXiv:2104.06399, Sec. 4.1).

Plain reshapes, slices and sums: the same on every backend, and one piece of graph for mobile runtimes.
Letters: B batch, H W grid, C channels.
"""

from keras import ops

from keras_vit.layers.sizes import cut_map, sizes


def patches_as_map(x, grid):
    """The patch tokens on their grid, the class token left out.  (B, 1 + H W, C) -> (B, H, W, C)."""
    return ops.reshape(x[:, 1:], (-1, *grid, x.shape[-1]))


def map_as_tokens(token, x):
    """The class token and, behind it, a map.  (B, 1, C) and (B, H, W, C) -> (B, 1 + H W, C)."""
    H, W, C = sizes(x)
    return ops.concatenate([token, ops.reshape(x, (-1, H * W, C))], axis=1)


def interpolate(x, grid, steps):
    """Tokens of one scale brought to the grid of another, bilinearly; the class token stays (Sec. 4.1).

    Args:
        x: (B, 1 + H W, C).
        grid: (H, W) of it, numbers or scalar tensors.
        steps: how many scales coarser the new grid is, each half of the one before; negative for a finer one.

    Returns:
        (B, 1 + H' W', C).
    """
    if not steps:
        return x
    patches = patches_as_map(x, grid)
    patches = upsample(patches, 2**-steps) if steps < 0 else downsample(patches, 2**steps)
    return map_as_tokens(x[:, :1], patches)


def downsample(x, factor):
    """Bilinear without antialiasing: the mean of the central 2 x 2 pixels of each cell.

    (B, H, W, C) -> (B, H / factor, W / factor, C), for an even factor.
    """
    H, W, _ = sizes(x)
    edge = factor // 2 - 1  # pixels of a cell on either side of its centre that are not read
    return ops.average_pool(cut_map(x, (edge, H - 2 * edge), (edge, W - 2 * edge)), 2, strides=factor)


def upsample(x, factor):
    """Bilinear, pixel centres at half-integers, border pixels repeated.  (B, H, W, C) -> (B, f H, f W, C)."""
    H, W, C = sizes(x)
    x = stretch(ops.reshape(x, (-1, H, W * C)), factor)  # B f*H W*C
    x = stretch(ops.reshape(x, (-1, W, C)), factor)  # B*f*H f*W C
    return ops.reshape(x, (-1, factor * H, factor * W, C))


def stretch(x, factor):
    """Linear interpolation along the middle axis.  (B, L, C) -> (B, f L, C)."""
    L, C = sizes(x)
    padded = ops.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
    before, after = padded[:, :L], padded[:, 2:]
    parts = []
    for i in range(factor):
        offset = (i + 0.5) / factor - 0.5  # of the new pixel's centre from the old one's, in old pixels
        neighbour = before if offset < 0 else after
        parts.append((1 - abs(offset)) * x + abs(offset) * neighbour)
    return ops.reshape(ops.concatenate(parts, axis=-1), (-1, factor * L, C))
