"""Relative position biases of Swin: what attention prefers whatever the image (arXiv:2103.14030, Eq. 4)."""

import numpy as np
from keras import ops

from keras_vit.models.swin import SwinBlock


def relative_position_biases(model):
    """The table of every block: what is added to the score of a query for a key at each offset.

    Args:
        model: a Swin Transformer of keras_vit.models.

    Returns:
        {block name: (h, 2M-1, 2L-1) float32} for windows of (M, L); the middle entry belongs to the query's own place,
        the one above it to the key one row above the query. Units are those of scores before the softmax.

    Raises:
        ValueError: for other models.
    """
    blocks = [layer for layer in model.layers if isinstance(layer, SwinBlock)]
    if not blocks:
        raise ValueError(
            f"relative_position_biases: expected a Swin Transformer. Received: {model.name!r}, which has no "
            "blocks with a bias table"
        )
    return {block.name: _by_offset_of_the_key(block.attn.bias_table) for block in blocks}


def _by_offset_of_the_key(table):
    """(2M-1, 2L-1, h), by the query's offset from the key, to (h, 2M-1, 2L-1), by the key's from the query."""
    table = ops.convert_to_numpy(ops.cast(table, "float32"))
    return np.ascontiguousarray(table[::-1, ::-1].transpose(2, 0, 1))
