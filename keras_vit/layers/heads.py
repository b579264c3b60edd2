"""Attention heads: groups of channels, d = C / h each, that attend on their own.

Letters: B batch, N tokens, C channels, h heads, d = C / h.
"""

from keras import ops

from keras_vit.layers.sizes import sizes


def check_heads(layer, channels):
    """Checks that the heads of an attention layer share its channels evenly.

    Args:
        layer: has a `name` and `num_heads`.
        channels: C.

    Raises:
        ValueError: if C is not a multiple of num_heads.
    """
    if channels % layer.num_heads:
        raise ValueError(
            f"{layer.name}: num_heads must divide the {channels} channels. Received: num_heads={layer.num_heads}"
        )


def split_heads(x, num_heads):
    """(B, N, C) -> (B, h, N, d); channels are ordered head by head, as in every published checkpoint."""
    N, C = sizes(x)
    x = ops.reshape(x, (-1, N, num_heads, C // num_heads))  # B N h d
    return ops.transpose(x, (0, 2, 1, 3))  # B h N d


def merge_heads(x):
    """(B, h, N, d) -> (B, N, C), the inverse of `split_heads`."""
    h, N, d = sizes(x)
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, N, h * d))  # B N C
