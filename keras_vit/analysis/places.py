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

from keras_vit.analysis.maps import scales_of
from keras_vit.layers import EncoderBlock
from keras_vit.layers.windows import window_partition
from keras_vit.models import coat, dinov2, pvt, pvt_v2, swin, t2t, t2t_backbones, tnt
from keras_vit.models.blocks import block_of, patch_map, patched_image, sizes_at

NOWHERE = -1  # the cell of class tokens and of the padding around windows


@dataclass(frozen=True)
class Places:
    """Where the queries, or the keys, of an attention lie.

    Attributes:
        image: (height, width) in pixels, padding included.
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


@dataclass(frozen=True)
class Sizes:
    """Shapes around a block, of which the number of images has no meaning.

    Attributes:
        image: (height, width) in pixels, of the image as the patches cover it, padding included.
        grids: (H, W) of the patches, of each scale that the block gives on.
        before: shape of what the block takes, a list if it takes several tensors.
        after: shape of what it gives on, likewise.
    """

    image: tuple[int, int]
    grids: tuple[tuple[int, int], ...]
    before: tuple | list
    after: tuple | list


def attending(model):
    """The layers of a model that attend, in the order of computation.

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
    return blocks


def sites(model, image_size=None):
    """The attentions of a model, {layer: [Site, ...]}, in the order of computation.

    Args:
        model: a model of this library.
        image_size: (H, W) in pixels, for a model of any size; by default that of the model's input.

    Raises:
        ValueError: as `attending` does.
    """
    blocks, before = attending(model), patched_image(model)
    tensors = {
        block.name: {
            "grids": [patch_map(model, stage) for stage in _stages(model, block)],
            "before": block.input,
            "after": block.output,
        }
        for block in blocks
    }
    found = sizes_at(model, {"": {"image": before}, **tensors}, image_size)
    image = found[""]["image"][1:3]
    return {block: LAYOUTS[type(block)](block, _sizes(image, **found[block.name])) for block in blocks}


def _stages(model, block):
    """Numbers of the stages whose grids a block gives on; None in a model of one resolution."""
    if block_of(block.name) is None:  # the steps of T2T-ViT's module, whose maps say their grids
        return [None]
    return [stage for _, stage in scales_of(model, block.name)]


def _sizes(image, grids, before, after):
    return Sizes(image, tuple(shape[1:3] for shape in grids), before, after)


def _sequence(block, around):
    """(B, tokens + H W, C): the patches behind their leading tokens."""
    return [_global(block.name, around.image, around.grids[0], around.after[1])]


def _map(block, around):
    """(B, H, W, C), as a sequence of its pixels."""
    grid = around.after[1:3]
    return [_global(block.name, around.image, grid, math.prod(grid))]


def _factorised(block, around):
    return [_global(block.name, around.image, around.grids[0], around.after[1], signed=True)]


def _scales(block, around):
    """One attention per scale; the scales are those of the last stages, the first being stage 1."""
    return [
        _global(f"{block.name}/stage{stage}", around.image, grid, 1 + math.prod(grid), signed=True)
        for stage, grid in enumerate(around.grids, 1)
    ]


def _inner_and_outer(block, around):
    """The pixels of a patch, as the patches are cut from the image, and the patches."""
    patches, pixels = around.before
    (grid,) = around.grids
    side = math.isqrt(pixels[1])
    fine = (side * grid[0], side * grid[1])
    pixels = ops.convert_to_numpy(window_partition(_numbers(fine), (side, side)))[..., 0]
    inner = _at_cells(around.image, fine, pixels)
    return [
        Site(f"{block.name}/inner", inner, inner),
        _global(f"{block.name}/outer", around.image, grid, patches[1]),
    ]


def _windows(block, around):
    """Shifted and padded windows; numbers begin at 1, for the padding is 0."""
    grid = around.after[1:3]
    windows = ops.convert_to_numpy(block.cut(_numbers(grid) + 1))[..., 0]
    places = _at_cells(around.image, grid, windows - 1)
    return [Site(block.name, places, places)]


def _reduced(block, around):
    """Queries from every pixel of the map, keys from a smaller one, each at the mean of the pixels that it reduces."""
    if len(around.after) == 3:
        return _sequence(block, around)
    grid, R = around.after[1:3], block.reduction
    queries = on_grid(around.image, grid)
    centres = queries.pixels.reshape(1, *grid, 2).astype("float32")
    pooled = pvt_v2.adaptive_average_pool(centres, pvt_v2.POOL) if R is None else ops.average_pool(centres, R, R)
    means = ops.convert_to_numpy(pooled)
    reduced = tuple(means.shape[1:3])
    cells = np.arange(math.prod(reduced))[None]
    keys = Places(around.image, reduced, cells, means.reshape(1, -1, 2))
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


LAYOUTS = {  # class of a block: function from block and `Sizes` to the block's sites
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
