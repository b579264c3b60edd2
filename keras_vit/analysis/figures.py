"""Figures of what a model has learned and where it looks: a matplotlib Figure each, made without pyplot.

Sizes are in inches. Save one with `figure.savefig("filters.png")`. Colour maps are those that any colour vision reads.
"""

import math

import numpy as np

from keras_vit.analysis.attention_figures import HEAT, OPACITY, PALE
from keras_vit.analysis.receptive_field import central_square

WIDTH = 7.0
TILES = 8  # shown at most along a side of a grid of maps; of more, 8 at equal distances
FINER = 8  # pixels of a tile for one of a filter, so that the gaps between tiles are narrow
HEADS = 8  # shown of a block
COLUMNS = 4  # panels in a row
BAR = {"fraction": 0.035, "pad": 0.02, "shrink": 0.9, "aspect": 25}  # of a colour bar
BESIDE = 0.9  # inches that it takes, with its numbers


def plot_position_similarity(similarity):
    """Draw the result of `position_similarity`: a panel per table, in it a map for each place (ViT, Fig. 7, centre)."""
    rows, columns = _panels(len(similarity), most=2)
    figure = _figure(WIDTH, rows * ((WIDTH - BESIDE) / columns + 0.25) + 0.35)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (name, maps) in zip(axes, similarity.items()):
        image = _draw_tiles(axis, maps, cmap="viridis", vmin=-1, vmax=1)
        axis.set_title(f"{name}, {maps.shape[0]} × {maps.shape[1]} places", fontsize=10)
        unit = "pixel of a patch" if name == "pixel_positions" else "patch"
        axis.set_xlabel(f"column of the {unit}", fontsize=9)
        axis.set_ylabel(f"row of the {unit}", fontsize=9)
    for axis in axes[len(similarity) :]:
        axis.set_axis_off()
    figure.colorbar(image, ax=axes, label="cosine similarity", **BAR)
    figure.suptitle("Similarity of position embeddings", fontsize=11)
    return figure


def plot_patch_filters(filters):
    """Draw the result of `patch_filters` as tiles, seven in a row (ViT, Fig. 7, left).

    Raises:
        ValueError: for filters of other than one or three channels, which cannot be drawn.
    """
    n, P, Q, C = filters.shape
    if n == 0 or C not in (1, 3):
        raise ValueError(
            f"filters: expected (n, P, P, 3), or 1 channel, and n at least 1. Received shape: {filters.shape}"
        )
    columns = min(n, 7)
    rows = math.ceil(n / columns)
    largest = np.abs(filters).max((1, 2, 3), keepdims=True)
    tiles = np.ones((rows * columns, P, Q, 3), "float32")
    tiles[:n] = 0.5 + 0.5 * filters / largest
    tiles = tiles.repeat(FINER, 1).repeat(FINER, 2).reshape(rows, columns, FINER * P, FINER * Q, 3)
    figure = _figure(WIDTH, WIDTH * rows / columns * P / Q + 0.6)
    axis = figure.add_subplot()
    axis.imshow(side_by_side(tiles, fill=1.0), interpolation="nearest")
    axis.set_axis_off()
    what = "RGB embedding filters" if C == 3 else "embedding filters"
    axis.set_title(f"{what}: first {n} principal components, {P} × {Q} pixels", fontsize=11)
    note = "the largest variance first; grey is 0, each is scaled to its largest entry"
    figure.supxlabel(note, fontsize=9)
    return figure


def plot_relative_position_biases(biases):
    """Draw the result of `relative_position_biases`: a row per block, a tile per head, at most the first eight."""
    names = list(biases)
    shown = min(HEADS, max(len(table) for table in biases.values()))
    limit = max(np.quantile(np.abs(table), 0.99) for table in biases.values())
    side = 0.8 * WIDTH / shown
    figure = _figure(WIDTH, min(side, 0.75) * len(names) + 1.3)
    axes = figure.subplots(len(names), 1, squeeze=False).ravel()
    for axis, name in zip(axes, names):
        h, rows, columns = biases[name].shape
        tiles = np.full((1, shown, rows, columns), np.nan, "float32")
        tiles[0, : min(h, shown)] = biases[name][:shown]
        image = axis.imshow(side_by_side(tiles), cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        text = f"{name}\n{h} heads" if h <= shown else f"{name}\n{shown} of {h} heads"
        axis.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8)
    reach = (rows // 2, columns // 2)
    axes[-1].set_xlabel(
        "each tile: the key's offset from the query, which is in the middle\n"
        f"(last block: −{reach[0]} … {reach[0]} rows downwards, −{reach[1]} … {reach[1]} columns to the right)",
        fontsize=9,
    )
    figure.colorbar(image, ax=axes, label="bias, added to the score", extend="both", **BAR)
    figure.suptitle("Relative position biases", fontsize=11)
    return figure


def plot_relevance(images, relevance, titles=None):
    """Draw the result of `relevance` over the images, one panel each.

    Args:
        images: (B, H0, W0, C) of any range.
        relevance: (B, H, W) in [0, 1].
        titles: above each panel, e.g. the classes explained.

    Raises:
        ValueError: if there is not one map, and one title, for each image.
    """
    if not 0 < len(images) == len(relevance) == len(titles or images):
        raise ValueError(
            f"expected one relevance for each image, and one title. Received: {len(images)} images, {len(relevance)} "
            f"relevances, {len(titles or images)} titles"
        )
    figure, axes = _panel_figure(len(images), images[0].shape[:2])
    for axis, pixels, heat, title in zip(axes, images, relevance, titles or [""] * len(images)):
        image = _overlay(axis, pixels, heat)
        axis.set_title(title, fontsize=9, parse_math=False)
    figure.colorbar(image, ax=axes, label="relevance", **BAR)
    figure.suptitle("Where the evidence for the class lies (Grad-CAM)", fontsize=11)
    return figure


def plot_patch_components(images, components, shown=None):
    """Draw the first three components of `patch_components` as red, green and blue beside each image.

    Args:
        images: (B, H0, W0, C) of any range.
        components: (B, H, W, 3 or more).
        shown: (B, H, W) of bool, the places that are drawn in colour, the others white; all if not given.

    Raises:
        ValueError: if there are fewer than three components, or not one map for each image.
    """
    if not 0 < len(images) == len(components) or components.shape[-1] < 3:
        raise ValueError(
            f"expected three components for each image. Received: {len(images)} images and components of shape "
            f"{np.shape(components)}"
        )
    shown = np.ones(components.shape[:3], bool) if shown is None else np.asarray(shown, bool)
    low, high = np.percentile(components[..., :3][shown], (2, 98), axis=0)
    colours = ((components[..., :3] - low) / np.maximum(high - low, 1e-6)).clip(0, 1)
    colours[~shown] = 1
    figure, axes = _panel_figure(2 * len(images), images[0].shape[:2])
    for i, image in enumerate(images):
        pixels = np.asarray(image, "float32")
        for axis, panel in zip(axes[2 * i :], ((pixels - pixels.min()) / max(np.ptp(pixels), 1e-6), colours[i])):
            axis.imshow(panel, interpolation="nearest", cmap="gray")
            axis.set(xticks=[], yticks=[])
    figure.suptitle("Principal components of the patches, the first three as red, green and blue", fontsize=11)
    return figure


def plot_effective_receptive_field(fields):
    """Draw effective receptive fields, one panel each, with the squares that hold a half and 95 % of them.

    Args:
        fields: {title of the panel, e.g. the block's name: (H, W)}.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.patches import Rectangle

    figure, axes = _panel_figure(len(fields), next(iter(fields.values())).shape, below=0.55)
    for axis, (name, field) in zip(axes, fields.items()):
        image = axis.imshow(field / field.max(), cmap="cividis", norm=PowerNorm(0.3, 0, 1), interpolation="nearest")
        sides = {}
        for share, style in ((0.5, "-"), (0.95, "--")):
            row, column, side = central_square(field, share)
            corner = (column - side / 2, row - side / 2)
            axis.add_patch(Rectangle(corner, side, side, fill=False, color="white", lw=1.2, ls=style))
            sides[share] = side
        axis.set_title(name, fontsize=9, parse_math=False)
        axis.set_xlabel(f"50 % in {sides[0.5]} px (solid)\n95 % in {sides[0.95]} px (dashed)", fontsize=8)
        axis.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=axes, label="gradient, of the largest", ticks=(0, 0.01, 0.1, 0.5, 1), **BAR)
    figure.suptitle("Effective receptive field of the central place", fontsize=11)
    return figure


def _figure(width, height):
    """A figure without a window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def _panels(count, most=COLUMNS):
    """Rows and columns for a number of panels."""
    columns = min(count, most)
    return math.ceil(count / columns), columns


def _panel_figure(count, shape, below=0.0):
    """A figure and its axes, one for each image of `shape` (H, W), with `below` inches for a text under each."""
    rows, columns = _panels(count)
    width = WIDTH if columns > 1 else 0.7 * WIDTH
    side = (width - BESIDE) / columns
    figure = _figure(width, rows * (side * shape[0] / shape[1] + 0.2 + below) + 0.35)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes


def _overlay(axis, image, heat):
    """An image, grey and pale, under a half transparent map, which is drawn smoothly over its whole extent."""
    H, W = image.shape[:2]
    extent = (-0.5, W - 0.5, H - 0.5, -0.5)
    grey = np.asarray(image, "float32").mean(-1)
    low, contrast = grey.min(), max(np.ptp(grey), 1e-6)
    black, white = (low + contrast * place for place in PALE)
    axis.imshow(grey, cmap="gray", vmin=black, vmax=white, extent=extent)
    axis.set(xticks=[], yticks=[])
    return axis.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=OPACITY, interpolation="bilinear", extent=extent)


def _draw_tiles(axis, maps, **colours):
    """A grid of maps (H, W, H', W') as one image, with the numbers of the rows and columns shown as ticks."""
    rows, columns = (np.unique(np.linspace(0, n - 1, min(n, TILES)).round().astype(int)) for n in maps.shape[:2])
    tiles = maps[np.ix_(rows, columns)]
    image = axis.imshow(side_by_side(tiles), interpolation="nearest", **colours)
    for set_ticks, numbers, side in ((axis.set_yticks, rows, maps.shape[2]), (axis.set_xticks, columns, maps.shape[3])):
        step = side + _gap(maps.shape[2:])
        set_ticks(np.arange(len(numbers)) * step + (side - 1) / 2, numbers + 1, fontsize=8)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image


def _gap(shape):
    """Pixels between tiles of this shape."""
    return max(1, round(0.08 * max(shape)))


def side_by_side(tiles, fill=np.nan):
    """(rows, columns, H, W[, C]) -> one array (rows H + gaps, columns W + gaps[, C]); gaps have the value `fill`."""
    rows, columns, H, W = tiles.shape[:4]
    gap = _gap((H, W))
    whole = np.full((rows * (H + gap) - gap, columns * (W + gap) - gap, *tiles.shape[4:]), fill, "float32")
    for i, j in np.ndindex(rows, columns):
        top, left = i * (H + gap), j * (W + gap)
        whole[top : top + H, left : left + W] = tiles[i, j]
    return whole
