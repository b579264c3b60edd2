"""Sizes of tensors and of shapes, whether they are known when a graph is made or not.

Only in the graphs of TensorFlow is a size ever unknown: on the other backends, and eagerly, all of this is arithmetic
with numbers.
"""

from keras import ops


def sizes(x):
    """The sizes of all axes but the first: numbers where all of them are known, else scalar tensors where not."""
    return tuple(x.shape[1:]) if None not in x.shape[1:] else tuple(ops.shape(x)[1:])


def are_known(sizes):
    """Whether none of these sizes is a tensor."""
    return all(isinstance(size, int) for size in sizes)


def equal(sizes, numbers):
    """Whether sizes are known to be these numbers."""
    return are_known(sizes) and tuple(sizes) == tuple(numbers)


def pad_map(x, rows, columns):
    """Zeros around a map.  (B, H, W, C) -> (B, H', W', C).

    Args:
        rows, columns: (before, after), numbers or scalar tensors.
    """
    H, W, C = sizes(x)
    padded = ops.pad(x, ((0, 0), rows, columns, (0, 0)))
    if are_known((H, W)):
        return padded
    return ops.reshape(padded, (-1, H + sum(rows), W + sum(columns), C))  # else TensorFlow forgets C


def cut_map(x, rows, columns, channels=None):
    """Part of a map.  (B, H, W, C) -> (B, n, m, C').

    Args:
        rows, columns: (the first, how many), numbers or scalar tensors.
        channels: the first C'; all by default.
    """
    (top, n), (left, m), C = rows, columns, channels or x.shape[-1]
    part = x[:, top : top + n, left : left + m, :C]
    return part if are_known((n, m)) else ops.reshape(part, (-1, n, m, C))  # as above


def derived(function, *sizes):
    """function(*sizes), for a shape: None if one of the sizes is."""
    return None if None in sizes else function(*sizes)


def halved(size):
    """Half of a size of a shape, rounded up."""
    return derived(lambda n: -(-n // 2), size)
