"""Where in the image the queries and keys of each attention of a model lie.

A map of tokens divides the image evenly, and the place of a token is the centre of its cell: the centre of its patch
wherever patches do not overlap and fit the image. What a model does to its map before it attends (shift, windows,
reduction) is done here, by the model's own functions, to the numbers and the centres of the cells.

Letters: B batch, H W grid, n windows (1 where attention is global), N tokens, h heads, R reduction ratio.
"""

import math
from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_vit.layers import EncoderBlock
from keras_vit.layers.windows import window_partition
from keras_vit.models import coat, dinov2, pvt, pvt_v2, swin, t2t, t2t_backbones, tnt
from keras_vit.models.blocks import patch_grid, stage_of

NOWHERE = -1  # the cell of class tokens and of the padding around windows


@dataclass(frozen=True)
class Places:
    """Where the queries, or the keys, of an attention lie.

    Attributes:
        image: (height, width), pixels.
        grid: (H, W) of the map that they lie on.
        cells: (n, N) whole numbers, cells of the grid in reading order; NOWHERE for what has no place in the image.
        pixels: (n, N, 2), their (y, x) in the image, from its upper left corner; NaN for what has none.
    """

    image: tuple[int, int]
    grid: tuple[int, int]
    cells: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True)
class Site:
    """One attention of a model.

    Attributes:
        name: of its block, and its name inside it if the block attends several times, such as "block0/inner".
        queries, keys: Places.
        tokens: leading queries and keys that are no part of the image: class and distillation token, registers.
        signed: whether the weights are an effective map that may be negative, with rows of any sum (CoaT).
    """

    name: str
    queries: Places
    keys: Places
    tokens: int = 0
    signed: bool = False


def sites(model):
    """The attentions of a model, {layer: [Site, ...]}, in the order of computation.

    Raises:
        ValueError: for models without attention, and for those that are not of this library.
    """
    inputs = getattr(model, "inputs", None) or ()
    blocks = [layer for layer in getattr(model, "layers", ()) if type(layer) in LAYOUTS]
    if len(inputs) != 1 or not blocks:
        raise ValueError(
            "expected a model of keras_vit.models whose blocks attend, which ConvNeXt's do not. "
            f"Received: {getattr(model, 'name', model)!r}, with {len(blocks)} such blocks and {len(inputs)} inputs"
        )
    image = tuple(inputs[0].shape[1:3])
    return {layer: LAYOUTS[type(layer)](model, layer, image) for layer in blocks}


def _sequence(model, block, image):
    """(B, tokens + H W, C): the patches behind their leading tokens."""
    return [_global(block.name, image, patch_grid(model, stage_of(block.name)), block.output.shape[1])]


def _map(model, block, image):
    """(B, H, W, C), as a sequence of its pixels."""
    grid = tuple(block.output.shape[1:3])
    return [_global(block.name, image, grid, math.prod(grid))]


def _factorised(model, block, image):
    return [_global(block.name, image, patch_grid(model, stage_of(block.name)), block.output.shape[1], signed=True)]


def _scales(model, block, image):
    """One attention per scale; the scales are those of the last stages, the first being stage 1."""
    return [
        _global(f"{block.name}/stage{stage}", image, grid, 1 + math.prod(grid), signed=True)
        for stage, grid in enumerate(block.grids, 1)
    ]


def _inner_and_outer(model, block, image):
    """The pixels of a patch, as the patches are cut from the image, and the patches."""
    patches, pixels = block.input
    grid = patch_grid(model, stage_of(block.name))
    side = math.isqrt(pixels.shape[1])
    fine = (side * grid[0], side * grid[1])
    pixels = ops.convert_to_numpy(window_partition(_numbers(fine), (side, side)))[..., 0]
    inner = _at_cells(image, fine, pixels)
    return [
        Site(f"{block.name}/inner", inner, inner),
        _global(f"{block.name}/outer", image, grid, patches.shape[1]),
    ]


def _windows(model, block, image):
    """Shifted and padded windows; numbers begin at 1, for the padding is 0."""
    grid = tuple(block.output.shape[1:3])
    padded = tuple(-(-side // m) * m for side, m in zip(grid, block.window_size))
    windows = ops.convert_to_numpy(block.cut(_numbers(grid) + 1, padded))[..., 0]
    places = _at_cells(image, grid, windows - 1)
    return [Site(block.name, places, places)]


def _reduced(model, block, image):
    """Queries from every pixel of the map, keys from a smaller one, each at the mean of the pixels that it reduces."""
    if len(block.output.shape) == 3:
        return _sequence(model, block, image)
    grid, R = tuple(block.output.shape[1:3]), block.reduction
    queries = on_grid(image, grid)
    centres = queries.pixels.reshape(1, *grid, 2).astype("float32")
    pooled = pvt_v2.adaptive_average_pool(centres, pvt_v2.POOL) if R is None else ops.average_pool(centres, R)
    means = ops.convert_to_numpy(pooled)
    reduced = tuple(means.shape[1:3])
    cells = np.arange(math.prod(reduced))[None]
    keys = Places(image, reduced, cells, means.reshape(1, -1, 2))
    return [Site(block.name, queries, keys)]


def _global(name, image, grid, length, signed=False):
    """All of a sequence attends to all of it; the patches are its end."""
    tokens = length - math.prod(grid)
    places = on_grid(image, grid, tokens)
    return Site(name, places, places, tokens, signed)


def on_grid(image, grid, tokens=0):
    """All cells of a grid in reading order, behind tokens without a place."""
    return _at_cells(image, grid, np.append(np.full(tokens, NOWHERE), np.arange(math.prod(grid)))[None])


def _numbers(grid):
    """The cells of a grid in reading order, as a map.  -> (1, H, W, 1)."""
    return np.arange(math.prod(grid), dtype="int32").reshape(1, *grid, 1)


def _at_cells(image, grid, cells):
    """Places at the centres of cells (n, N)."""
    y, x = np.divmod(cells, grid[1])
    centres = np.stack([(y + 0.5) * image[0] / grid[0], (x + 0.5) * image[1] / grid[1]], axis=-1)
    return Places(image, grid, cells, np.where(cells[..., None] == NOWHERE, np.nan, centres))


LAYOUTS = {  # class of a block: function from model, block and image size to the block's sites
    EncoderBlock: _sequence,
    dinov2.SwiGLUBlock: _sequence,
    t2t_backbones.ChannelAttentionBlock: _sequence,
    t2t_backbones.GhostBlock: _sequence,
    t2t_backbones.DenseBlock: _sequence,
    tnt.TNTBlock: _inner_and_outer,
    swin.SwinBlock: _windows,
    pvt.PVTBlock: _reduced,
    pvt_v2.PVTV2Block: _reduced,
    t2t.TokenPerformer: _map,
    t2t.TokenTransformer: _map,
    coat.SerialBlock: _factorised,
    coat.ParallelBlock: _scales,
}
