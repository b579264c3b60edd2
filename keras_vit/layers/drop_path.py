"""Stochastic depth -- Huang et al., arXiv:1603.09382: a residual branch is skipped for whole samples."""

import numpy as np
from keras import layers


def drop_path(rate, rank, dtype=None, name="drop_path"):
    """A layer that zeroes a residual branch for a sample with probability `rate`, else divides it by 1 - rate.

    Args:
        rate: probability in [0, 1); nothing happens at inference, nor at rate 0.
        rank: number of axes of the branch, the batch included: 3 for tokens, 4 for maps.
    """
    return layers.Dropout(rate, noise_shape=(None,) + (1,) * (rank - 1), dtype=dtype, name=name)


def drop_path_rates(rate, depth):
    """The rate of each of `depth` blocks: linear from 0 in the first to `rate` in the last."""
    return [float(r) for r in np.linspace(0.0, rate, depth)]
