"""Stochastic depth -- Huang et al., arXiv:1603.09382: a residual branch is skipped for whole samples."""

import keras
import numpy as np
from keras import layers

from keras_vit.system import keras_private


def drop_path(rate, rank, dtype=None, name="drop_path"):
    """A layer that zeroes a residual branch for a sample with probability `rate`, else divides it by 1 - rate.

    Args:
        rate: probability in [0, 1); nothing happens at inference, nor at rate 0.
        rank: number of axes of the branch, the batch included: 3 for tokens, 4 for maps.

    Raises:
        ValueError: for a positive rate inside a keras.RematScope, but on JAX: where Keras computes a block a second
            time for its gradients, it does so without dropping anything, and the gradients would be wrong.
    """
    layer = layers.Dropout(rate, noise_shape=(None,) + (1,) * (rank - 1), dtype=dtype, name=name)
    if rate and keras_private.recomputed(layer) and keras.backend.backend() != "jax":
        raise ValueError(
            "drop_path_rate: expected 0 for a model built inside keras.RematScope, which computes blocks again without "
            f"drop path when it takes gradients. Received: a rate of {rate:g} on {keras.backend.backend()}"
        )
    return layer


def drop_path_rates(rate, depth):
    """The rate of each of `depth` blocks: linear from 0 in the first to `rate` in the last."""
    return [float(r) for r in np.linspace(0.0, rate, depth)]
