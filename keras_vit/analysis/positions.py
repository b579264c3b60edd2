"""How alike the position embeddings of two places are (ViT, arXiv:2010.11929, Fig. 7, centre).

Trained models show what they have learned of the image's geometry: nearby places, and places of the same row or
column, have similar embeddings.
"""

import math

import numpy as np
from keras import ops

from keras_vit.layers import PositionEmbedding
from keras_vit.models.blocks import patch_grid, stage_of
from keras_vit.models.t2t import SinusoidPositions
from keras_vit.models.vit import GridPositionEmbedding

TABLES = (PositionEmbedding, SinusoidPositions, GridPositionEmbedding)  # layers that hold an embedding for each place


def position_similarity(model):
    """Cosine similarity of every two position embeddings of a model; tokens without a place are left out.

    Learned tables of ViT (one- and two-dimensional), hybrid, DeiT, DeiT-III and DINOv2, T2T's fixed sinusoids, both
    tables of TNT (pixels within a patch, and patches), and one table per stage of PVT v1.

    Args:
        model: a model of keras_vit.models.

    Returns:
        {layer name: (H, W, H, W) float32 in [-1, 1]}; entry [i, j] is the map for the place in row i, column j.

    Raises:
        ValueError: for models that encode positions in another way, or not at all.
    """
    grids = {layer.name: _grid(model, layer) for layer in model.layers if isinstance(layer, TABLES)}
    if not grids:
        raise ValueError(
            f"position_similarity: {model.name!r} has no table of position embeddings. Expected ViT with learned "
            "positions, hybrid ViT, DeiT, DINOv2, T2T-ViT, TNT or PVT v1; Swin has relative_position_biases instead, "
            "and ConvNeXt, CoaT and PVT v2 encode positions by convolutions"
        )
    return {name: _cosines(_vectors(model.get_layer(name), grid)) for name, grid in grids.items()}


def _grid(model, layer):
    """(H, W) of the places that a layer has embeddings for; in a model of any size, those of its native size."""
    if layer.grid:
        return tuple(layer.grid)
    if layer.name == "pixel_positions":  # within a patch, which is square
        return (math.isqrt(layer.table.shape[1]),) * 2
    if len(layer.table.shape) == 4:
        return tuple(layer.table.shape[1:3])
    return patch_grid(model, stage_of(layer.name))


def _vectors(layer, grid):
    """The embeddings of the places, (H, W, C)."""
    H, W = grid
    if isinstance(layer, GridPositionEmbedding):
        columns, rows = (ops.convert_to_numpy(ops.cast(t, "float32")) for t in (layer.columns, layer.rows))
        return np.concatenate([columns[None].repeat(H, 0), rows[:, None].repeat(W, 1)], axis=-1)  # H W C
    table = ops.convert_to_numpy(ops.cast(layer.table, "float32"))
    table = table.reshape(-1, table.shape[-1])  # N C
    return table[len(table) - H * W :].reshape(H, W, -1)  # H W C


def _cosines(vectors):
    """(H, W, C) -> (H, W, H, W). A vector of zeros has similarity 0 with every other."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit = vectors / np.maximum(lengths, np.finfo("float32").tiny)
    return np.einsum("ijc,klc->ijkl", unit, unit, optimize=True).clip(-1, 1)
