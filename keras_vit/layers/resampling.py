"""Resampling of what is kept on a grid to the grid that arrives, in the graph: what loading does in numpy.

Letters: H W grid, C channels.
"""

import keras
from keras import ops

from keras_vit.layers.sizes import are_known
from keras_vit.weights.resample import interpolation_matrix, sample_weights


def resample(grid, new, kernel="bicubic", antialias=True, offset=0.0):
    """A grid of vectors on another grid, by the rule of `keras_vit.weights.resample.interpolation_matrix`.

    Args:
        grid: (H, W, C) float32.
        new: (H', W'), numbers or scalar tensors; a grid of the same size stays as it is.

    Returns:
        (H', W', C) float32.
    """
    H, W, C = grid.shape
    rows, columns = _matrices((H, W), new, kernel, antialias, offset)
    moved = ops.reshape(ops.matmul(rows, ops.reshape(grid, (H, W * C))), (-1, W, C))  # H' W C
    return ops.matmul(columns, moved)  # H' W' C


def resample_line(line, new):
    """(n, C) -> (new, C), bicubic and antialiased; `new` is a number or a scalar tensor."""
    matrix, _ = _matrices((line.shape[0], 1), (new, 1), "bicubic", True, 0.0)
    return ops.matmul(matrix, line)


def _matrices(old, new, kernel, antialias, offset):
    """(H', H) and (W', W)."""
    if are_known(new):
        made = (interpolation_matrix(n, m, kernel, antialias, offset) for n, m in zip(old, new))
        return [ops.convert_to_tensor(matrix.astype("float32")) for matrix in made]
    same = ops.logical_and(ops.equal(new[0], old[0]), ops.equal(new[1], old[1]))
    offset = ops.where(same, 0.0, offset)
    return [_matrix(n, m, kernel, antialias, offset) for n, m in zip(old, new)]


def _matrix(old, new, kernel, antialias, offset):
    """The same of one side, of which the new size is a tensor."""
    scale = old / (ops.cast(new, "float32") + offset)
    centres = (ops.cast(ops.arange(new), "float32") + 0.5) * scale - 0.5
    return sample_weights(centres, scale, old, kernel, antialias, xp=keras.ops)
