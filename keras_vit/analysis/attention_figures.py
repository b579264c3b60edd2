"""Figures of attention: maps over the image, rollout, and how far each head looks by depth.

Each function returns a matplotlib Figure, for `savefig` or a notebook, and writes nothing. Sizes are in inches.
"""

import itertools

import numpy as np

from keras_vit.models.blocks import block_of

PANEL = 1.1  # width of a panel
TITLE = 0.4  # above it, two lines
HEADING = 0.2
MARGIN, GAP = 0.15, 0.08
BAR = 0.9  # width of the bar of colours with its ticks
COLUMNS = 7  # panels side by side
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # Okabe and Ito's, for any colour vision
HEAT = "viridis"
OPACITY = 0.7  # of attention over the image, which is grey and pale lest its own light pass for attention
PALE = (-0.6, 1.6)  # what the image's range from 0 to 1 is drawn in, black to white


def plot_attention_maps(maps, images, index=0, query=None, blocks=None, by_head=False):
    """Attention over one image, block by block.

    It shows where the query at a pixel looks; without `query`, where the class token looks or, in blocks without one,
    the attention that each place receives. Colours reach from 0 to the largest weight of each panel; of CoaT's signed
    maps magnitudes are drawn.

    Args:
        maps: what `attention_maps` returns.
        images: its images, (B, H, W, C) of any range.
        index: of the image to draw.
        query: (y, x), pixels; marked by a ring.
        blocks: names of the maps to draw; all if not given.
        by_head: whether each head has a panel, a row per block, instead of the mean over heads.

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: for names that are not among the maps and for an index that is not among the images.
    """
    chosen = list(maps) if blocks is None else list(blocks)
    unknown = [name for name in chosen if name not in maps]
    if unknown or not chosen:
        raise ValueError(f"blocks: expected some of {list(maps)}. Received: {unknown or chosen}")
    if not 0 <= index < len(images):
        raise ValueError(f"index: expected one of {len(images)} images. Received: index={index}")
    image = _displayed(images[index])
    original = ("image", image, None)
    rows = [_block_panels(name, maps[name], image, index, query, by_head) for name in chosen]
    if by_head:
        return _panels("Attention by head", [[original, *row] for row in rows], query)
    return _panels("Attention by block, mean over heads", _wrapped([original, *itertools.chain(*rows)], COLUMNS), query)


def plot_attention_rollout(images, rollout):
    """Attention rollout (arXiv:2005.00928) beside each image.

    Args:
        images: (B, H, W, C) of any range.
        rollout: what `attention_rollout` returned for them, (B, h, w).

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: if there is not one rollout for each image.
    """
    if len(images) != len(rollout) or not len(images):
        raise ValueError(
            f"expected one rollout for each image. Received: {len(images)} images and {len(rollout)} rollouts"
        )
    panels = []
    for image, heat in zip(map(_displayed, images), rollout):
        panels += [("image", image, None), ("rollout", image, heat)]
    return _panels("Attention rollout", _wrapped(panels, COLUMNS - 1))


def plot_mean_attention_distance(distances, title="Mean attention distance of each head, and their mean"):
    """Network depth against mean attention distance, a dot per head (ViT, arXiv:2010.11929, Fig. 7 right).

    The line is the mean over heads. Stages, TNT's inner and outer attention and CoaT's scales have their own colours.

    Args:
        distances: what `mean_attention_distance` returns.
        title: of the figure.

    Returns:
        matplotlib Figure.
    """
    kinds = _kinds(distances)
    depth = {block: i for i, block in enumerate(dict.fromkeys(name.split("/")[0] for name in distances))}
    figure = _figure(6.4 + 1.4 * (len(kinds) > 1), 3.8, layout="constrained")
    axis = figure.add_subplot()
    for i, (kind, names) in enumerate(kinds.items()):
        places, color = [depth[name.split("/")[0]] for name in names], COLORS[i % len(COLORS)]
        axis.plot(places, [np.mean(distances[name]) for name in names], color=color, lw=1.2, alpha=0.7)
        dots = [(place, each) for place, name in zip(places, names) for each in distances[name]]
        axis.scatter(*zip(*dots), s=16, color=color, alpha=0.85, linewidths=0, label=kind, zorder=3)
    plain = {_group(block) for block in depth} == {"blocks"}
    step = -(-len(depth) // 24)
    labels = [block.removeprefix("block") if plain else block for block in depth][::step]
    axis.set_xticks(range(0, len(depth), step), labels, rotation=0 if plain else 90, fontsize=8)
    axis.set_xlabel("network depth (block)")
    axis.set_ylabel("mean attention distance (pixels)")
    axis.set_ylim(0, 1.06 * np.nanmax(np.concatenate(list(distances.values()))) or 1)
    axis.set_title(title, loc="left", parse_math=False)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", lw=0.4, alpha=0.6)
    if len(kinds) > 1:
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    return figure


def _kinds(distances):
    """Maps that share a colour, by the part after the slash, else by stage, else all.  {kind: names}."""
    kinds = {}
    for name in distances:
        layer, _, inside = name.partition("/")
        kinds.setdefault(inside or _group(layer), []).append(name)
    return kinds


def _group(layer):
    """Stage of a block, "blocks" without stages; "tokens" of T2T-ViT's steps "tokens1" and "tokens2"."""
    block = block_of(layer)
    return block.group if block else layer.rstrip("0123456789")


def _block_panels(name, attention, image, index, query, by_head):
    """(title, image, heat) of a block's mean over heads, or of each head."""
    if query is not None:
        heat, kind = attention.of_query(*query), "seen from the ring"
    elif attention.tokens:
        heat, kind = attention.of_token(), "of the class token"
    else:
        heat, kind = attention.received(), "received"
    heat = np.abs(heat[index])
    if not by_head:
        return [(f"{name}\n{kind}", image, heat.mean(axis=0))]
    return [(f"{name}, head {h}\n{kind}", image, each) for h, each in enumerate(heat)]


def _wrapped(panels, columns):
    return [panels[i : i + columns] for i in range(0, len(panels), columns)]


def _displayed(image):
    """Any range to [0, 1]; one channel, or three."""
    image = np.asarray(image, "float32")
    low, high = image.min(), image.max()
    return (image - low) / (high - low if high > low else 1)


def _panels(title, rows, query=None):
    """Rows of (title, image, heat or None), and one bar for the colours of all."""
    from matplotlib.cm import ScalarMappable

    height, width = rows[0][0][1].shape[:2]
    tall, columns = PANEL * height / width, max(map(len, rows))
    pitch, right = tall + TITLE, MARGIN + columns * (PANEL + GAP)
    size = (right + BAR, 2 * MARGIN + HEADING + len(rows) * pitch)
    figure = _figure(*size)

    def place(left, bottom, width, height):
        return figure.add_axes((left / size[0], bottom / size[1], width / size[0], height / size[1]))

    for r, row in enumerate(rows, 1):
        for c, (name, image, heat) in enumerate(row):
            axis = place(MARGIN + c * (PANEL + GAP), MARGIN + (len(rows) - r) * pitch, PANEL, tall)
            _draw(axis, image, heat, query)
            axis.set_title(name, fontsize=8, pad=3, parse_math=False)
    figure.text(MARGIN / size[0], 1 - MARGIN / size[1], title, fontsize=12, va="top")
    bar = place(right + GAP, MARGIN + (len(rows) - 1) * pitch, 0.12, tall)
    figure.colorbar(ScalarMappable(cmap=HEAT), cax=bar, ticks=(0, 0.5, 1))
    bar.set_ylabel("relative to the\npanel's largest", fontsize=8)
    bar.tick_params(labelsize=8)
    return figure


def _draw(axis, image, heat, query):
    """The image, or the heat over it; a ring at the query."""
    height, width = image.shape[:2]
    axis.set_axis_off()
    shown = {"extent": (0, width, height, 0), "aspect": "auto"}
    if heat is None:
        axis.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", **shown)
    else:
        axis.imshow(image.mean(axis=-1), cmap="gray", vmin=PALE[0], vmax=PALE[1], **shown)
        axis.imshow(heat, cmap=HEAT, vmin=0, vmax=heat.max() or 1, alpha=OPACITY, interpolation="nearest", **shown)
    if query is not None:
        ring = {"marker": "o", "s": 40, "facecolors": "none"}
        axis.scatter(query[1], query[0], edgecolors="black", linewidths=3, **ring)
        axis.scatter(query[1], query[0], edgecolors="white", linewidths=1.5, **ring)


def _figure(width, height, **options):
    """A Figure of matplotlib without pyplot, which would open a window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **options)
