"""Resampling of weights on a grid (positions, bias tables) to a grid of another size, as the reference loaders do.

Plain numpy, once per loading. Each function takes the stored array, the new shape, and the size (H, W) of the model's
input in pixels; it is not called for an array that has the shape already.
"""

import math
from dataclasses import dataclass

import numpy as np

from keras_vit.system.limits import MAX_GRID


def cubic(x, a, xp=np):
    """Keys' cubic kernel (doi:10.1109/TASSP.1981.1163711, Eq. 15), radius 2."""
    x = xp.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return xp.where(x < 1, near, xp.where(x < 2, far, xp.zeros_like(x)))


def triangle(x, xp=np):
    """The linear kernel, radius 1."""
    return xp.maximum(1 - xp.abs(x), xp.zeros_like(x))


def interpolation_matrix(old, new, kernel="bicubic", antialias=True, offset=0.0):
    """The (new, old) matrix that resamples a line of `old` samples to `new`, pixel centres at half-integers.

    With an `offset` the step from one to the next is old / (new + offset), a little too short, as in the official code
    of DINO and DINOv2.

    With `antialias`, the kernel is widened by old / new when shrinking, its weights renormalised at the borders, and
    the cubic has a = -0.5, as in PIL and PyTorch's antialiased resize. Without, border samples are repeated and the
    cubic has a = -0.75, as in PyTorch's plain resize.
    """
    _check_side(old)
    scale = np.float64(old / (new + offset))
    return sample_weights((np.arange(new) + 0.5) * scale - 0.5, scale, old, kernel, antialias)


def sample_weights(centres, scale, old, kernel, antialias, xp=np):
    """What each of `old` samples adds to the new ones.

    Args:
        centres: (new,) places of the new samples on the line of the old, floats.
        scale: step from one to the next, a float of the same type.
        kernel, antialias: as of `interpolation_matrix`.
        xp: numpy, or `keras.ops` for centres and scale that are tensors.

    Returns:
        (new, old).
    """
    near = triangle if kernel == "bilinear" else lambda x, xp: cubic(x, -0.5 if antialias else -0.75, xp)
    dtype = "float64" if xp is np else "float32"
    centres = xp.expand_dims(centres, 1)
    if antialias:
        places = np.arange(old).astype(dtype)
        weights = near((places - centres) / xp.maximum(scale, xp.ones_like(scale)), xp)
        return weights / xp.sum(weights, axis=1, keepdims=True)
    places = np.arange(-2, old + 2).astype(dtype)  # two samples beyond either border, which repeat it
    beyond = np.eye(old, dtype=dtype)[places.clip(0, old - 1).astype(int)]
    return xp.matmul(near(places - centres, xp), beyond)


def _check_side(old):
    if not 1 <= old <= MAX_GRID:
        raise ValueError(f"expected a side of 1 to {MAX_GRID} (MAX_GRID) to resample. Received: {old}")


def resample_grid(grid, new, kernel="bicubic", antialias=True, offset=0.0):
    """(H, W, C) -> (*new, C), separable."""
    rows = interpolation_matrix(grid.shape[0], new[0], kernel, antialias, offset)
    columns = interpolation_matrix(grid.shape[1], new[1], kernel, antialias, offset)
    return np.einsum("ih,hwc,jw->ijc", rows, grid.astype("float64"), columns, optimize=True)


@dataclass(frozen=True)
class Positions:
    """A resampler of position tables: (1, prefix + H W, C), of which the first tokens stay, or maps (1, H, W, C).

    The stored grid of a sequence has the aspect ratio of the stored size, or is square where that is unknown; the new
    grid has the aspect ratio of the model's input.

    Attributes:
        prefixes: number of tokens before the grid; where files differ, several to be tried, of which one fits, since
            N and N + 1 are never both squares.
        kernel, antialias, offset: as of `interpolation_matrix`.
    """

    prefixes: tuple[int, ...]
    kernel: str = "bicubic"
    antialias: bool = True
    offset: float = 0.0

    def __call__(self, table, shape, size, stored=None):
        if table.ndim == 4:
            return self._grid(table[0], shape[1:3])[None]
        for prefix in self.prefixes:
            old, new = self._grids(prefix, table.shape, shape, size, stored)
            if old and new and len(table) == 1:
                grid = self._grid(table[0, prefix:].reshape(*old, -1), new)
                return np.concatenate([table[:, :prefix], grid.reshape(1, new[0] * new[1], -1)], axis=1)
        return table  # not a grid with such a prefix; the loader raises an error for the shape

    def moves(self, shape, size, stored):
        """Whether a table of the model's own `shape` is of another grid than the model's, of as many patches."""
        if stored is None or len(shape) != 3:
            return False
        grids = (self._grids(prefix, shape, shape, size, stored) for prefix in self.prefixes)
        return next((old != new for old, new in grids if old and new), False)

    def _grids(self, prefix, old_shape, new_shape, size, stored):
        return _grid(old_shape[1] - prefix, stored or (1, 1)), _grid(new_shape[1] - prefix, size)

    def _grid(self, grid, new):
        return resample_grid(grid, new, self.kernel, self.antialias, self.offset)


def positions(*prefixes, kernel="bicubic", antialias=True, offset=0.0):
    """The resampler of position tables with so many tokens before the grid."""
    return Positions(prefixes, kernel, antialias, offset)


def _grid(tokens, size):
    """(H, W) of the grid of `tokens` square patches that fill an image of aspect ratio `size`; None if none does."""
    if tokens < 1:
        return None
    patch = math.sqrt(size[0] * size[1] / tokens)
    height, width = round(size[0] / patch), round(size[1] / patch)
    return (height, width) if height * width == tokens else None


def relative_position_bias(table, shape, size, stored=None):
    """Swin's bias tables between window sizes: rows spread geometrically from the centre, linear in between.

    Frequent offsets (near the centre) keep their resolution, far ones are stretched, as in BEiT's fine-tuning code and
    timm's loader.

    Args:
        table: (S, S, h) with S = 2 M - 1 offsets per axis.
        shape: the new one, (2 M' - 1, 2 L' - 1, h).
        size, stored: not used.
    """
    if table.shape[0] % 2 == 0 or table.shape[1] % 2 == 0:
        return table  # no offset 0 in the middle; the loader raises an error for the shape
    rows, columns = (geometric_matrix(old, new) for old, new in zip(table.shape, shape[:2]))
    return np.einsum("ia,abh,jb->ijh", rows, table.astype("float64"), columns, optimize=True)


def geometric_matrix(old, new):
    """(new, old) linear interpolation from offsets 0, 1, 1+q, 1+q+q^2 ... on both sides, q fitted to reach new // 2."""
    _check_side(old)
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        q = (low + high) / 2
        if (1 - q ** (old // 2)) / (1 - q) > new // 2:
            high = q
        else:
            low = q
    steps = np.cumsum([q**i for i in range(old // 2)])
    offsets = np.concatenate([-steps[::-1], [0.0], steps])
    targets = np.arange(new) - new // 2
    return np.stack([np.interp(targets, offsets, row) for row in np.eye(old)], axis=1)


def input_channels(kernel, shape, size, stored=None):
    """A first convolution (P, P, I, C) for another number of input channels, as timm adapts it.

    One channel: the sum over the stored ones, with the same output as for a grey image repeated I times. More: the
    stored ones in turn, scaled by I / new so that the expected output keeps its magnitude.
    """
    old, new = kernel.shape[2], shape[2]
    if old == 0 or kernel.shape[:2] != tuple(shape[:2]):
        return kernel  # another convolution; the loader raises an error for the shape
    if new == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(new) % old] * (old / new)
