"""Synthetic weights: each array drawn from its own name, so that a record of outputs needs no weight file."""

import zlib

import numpy as np


def seeded(key, shape):
    """The array that stands under `key` in the reference's state dict, float64.

    Near 1 for scales, near 0 for shifts, of unit variance after a projection; tables and tokens at 0.3.
    """
    x = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if len(shape) == 0:
        return np.asarray(1.0 + 0.1 * x)
    if key.endswith("running_var"):
        return 1.0 + 0.1 * np.abs(x)
    if len(shape) == 1:
        base = 1.0 if key.endswith("weight") else 0.5 if "gamma" in key else 0.0
        return base + 0.1 * x
    if shape[0] == 1 or "relative_position_bias_table" in key:
        return 0.3 * x
    return x / np.sqrt(np.prod(shape[1:]))


def seeded_image(seed, height, width, channels=3, count=1):
    """The input of a record, (B, H, W, C) float32, fed to the network as it is."""
    return np.random.default_rng(seed).standard_normal((count, height, width, channels)).astype("float32")
