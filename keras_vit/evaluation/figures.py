"""Figures of an evaluation: the confusion matrix, the reliability diagram, the worst classes, and unknown images.

Sizes are in inches. Axes and texts are placed at fixed distances and the figure is cropped to them, so that names of
any length and any number of classes fit.
"""

import functools

import numpy as np

from keras_vit.evaluation.metrics import confusion, most_confused
from keras_vit.system.files import atomic_file

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#4D4D4D"  # Okabe and Ito's, for any colour vision
COUNTED = 30  # most classes for counts in the cells, colours by share and large names
NAMED = 120  # most classes for names at the axes
CELLS = 1000  # most cells along a side; with more classes several share a cell
LISTED = 30  # most confused pairs of classes that are listed
WORST = 40  # classes of several labels per image that are drawn
LONGEST = 28  # characters of a name
DOT = 0.02  # side of the smallest cell, so that a single one is visible


def save_confusion(path, predictions, title):
    """Draw the confusion matrix: a row per class that has images, a column per prediction, and a list of mistakes.

    Predictions of classes without images are in a last column, "others". Above COUNTED classes colours are counts on a
    logarithmic scale, and cells too small to see are enlarged.
    """
    entries = confusion(predictions)
    classes = np.unique(predictions.labels)
    together = -(-len(classes) // CELLS)
    counts = matrix(entries, classes, together)
    side = _side(len(counts))
    width = side * counts.shape[1] / len(counts)
    figure, (axis, bar) = _figure((0, 0, width, side), (width + 0.2, 0, 0.16, side))
    draw = _draw_counts if len(classes) <= COUNTED else _draw_heat_map
    draw(axis, bar, counts, side / len(counts))
    if len(classes) <= NAMED:
        _name_axes(axis, counts.shape, [short_name(predictions.names[number], number) for number in classes], side)
    else:
        _number_axes(axis, counts.shape, classes, together)
    axis.set_title(_drawable(title), loc="left", fontsize=12, pad=10, parse_math=False)
    _list_mistakes(bar, entries, predictions.names)
    return save_figure(figure, path)


def save_reliability(path, calibration, title):
    """Draw accuracy over confidence per bin (arXiv:1706.04599, Fig. 1), above the number of images per bin.

    Of several labels per image: how many of the images have a class, over its probability.
    """
    words = ("accuracy", "confidence: the score of the best class", "images", "confidence")
    if calibration.several:
        words = ("share that has the class", "probability of a class", "pairs of image and class", "probability")
    accuracy_name, axis_name, counted, confidence_name = words
    bins, n = len(calibration.images), calibration.images.sum()
    figure, (axis, below) = _figure((0, 1.6, 4.6, 4.6), (0, 0, 4.6, 1.3))
    filled = calibration.images > 0
    images, left = calibration.images[filled], np.arange(bins)[filled] / bins
    accuracy, confidence = calibration.correct[filled] / images, calibration.confidence[filled] / images
    axis.bar(left, accuracy, 1 / bins, align="edge", color=BLUE, edgecolor="white", label=accuracy_name)
    axis.vlines(confidence, accuracy, confidence, color=ORANGE, lw=2.5, label=f"gap to the mean {confidence_name}")
    axis.plot(confidence, confidence, "o", color=ORANGE, ms=4)
    axis.plot((0, 1), (0, 1), "--", color=GREY, lw=1, label="perfectly calibrated")
    axis.set(xlim=(0, 1), ylim=(0, 1), ylabel=accuracy_name, xticklabels=[])
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=9)
    bars = below.bar(left, 100 * images / n, 1 / bins, align="edge", color=GREY, edgecolor="white")
    counts = [f"{count:,}" if count < 10_000 else f"{count / 1000:,.0f}k" for count in images]
    below.bar_label(bars, counts, fontsize=7, padding=1)
    below.margins(y=0.2)
    below.set(xlim=(0, 1), xlabel=axis_name, ylabel=f"{counted.split()[0]} (%)")
    for each in (axis, below):
        each.spines[["top", "right"]].set_visible(False)
    text = (
        f"{_drawable(title)}\nexpected calibration error {100 * calibration.error:.2f} % ({bins} bins)\n"
        f"{accuracy_name} {100 * calibration.correct.sum() / n:.2f} %, mean {confidence_name} "
        f"{100 * calibration.confidence.sum() / n:.2f} %, {n:,} {counted}"
    )
    axis.set_title(text, loc="left", fontsize=10, parse_math=False)
    return save_figure(figure, path)


def save_classes(path, names, columns, title):
    """Draw measures of the classes as bars, of the classes with the lowest first measure, the lowest on top.

    Args:
        path: of the file.
        names: K names of classes.
        columns: {name of a measure: (K,) in [0, 1], NaN where it is not known}, two of them.
        title: of the figure.
    """
    (first, low), (second, other) = columns.items()
    order = np.argsort(low, kind="stable")[: min(WORST, int((~np.isnan(low)).sum()))]  # NaN is last
    figure, (axis,) = _figure((0, 0, 5.2, max(1.0, 0.26 * len(order))))
    places = np.arange(len(order))
    axis.barh(places, low[order], color=BLUE, height=0.7, label=first)
    axis.plot(other[order], places, "o", color=ORANGE, ms=5, label=second)
    axis.set_yticks(places, [short_name(names[k], k) for k in order], fontsize=9, parse_math=False)
    axis.set(xlim=(0, 1.02), ylim=(len(order) - 0.4, -0.6))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=9)
    shown = "" if len(order) == len(names) else f"\nthe {len(order)} lowest of {len(names):,} classes"
    axis.set_title(f"{_drawable(title)}{shown}", loc="left", fontsize=10, parse_math=False)
    return save_figure(figure, path)


def save_separation(path, separation, title):
    """Draw how the scores of known and of unknown images are distributed, with the threshold between them."""
    figure, (axis,) = _figure((0, 0, 5.2, 3.2))
    edges = np.histogram_bin_edges(np.concatenate([separation.known, separation.unknown]), 40)
    for scores, color, name in ((separation.known, BLUE, "known"), (separation.unknown, ORANGE, "unknown")):
        axis.hist(scores, edges, weights=np.full(len(scores), 100 / len(scores)), color=color, alpha=0.6, label=name)
    axis.axvline(separation.threshold, color=GREY, ls="--", lw=1.5, label="threshold: unknown below")
    axis.set(xlabel=f"{separation.score}, the score of known images", ylabel="images of each kind (%)")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=9)
    text = (
        f"{_drawable(title)}\nAUROC {100 * separation.auroc:.2f} %\n{100 * separation.rejected:.2f} % of "
        f"{len(separation.unknown):,} unknown images rejected, {100 * separation.kept:.2f} % of "
        f"{len(separation.known):,} known ones kept"
    )
    axis.set_title(text, loc="left", fontsize=10, parse_math=False)
    return save_figure(figure, path)


def save_curve(path, across, up, names, title):
    """Draw points of a name each, and the line through them.

    Args:
        path: of the file.
        across, up: (N numbers, label of the axis), along x and y.
        names: N texts, beside the points.
        title: of the figure.
    """
    figure, (axis,) = _figure((0, 0, 5.2, 3.6))
    axis.plot(across[0], up[0], "o-", color=BLUE, ms=5)
    for *place, name in zip(across[0], up[0], names):
        axis.annotate(name, place, (5, -10), textcoords="offset points", fontsize=9, color=GREY)
    axis.set(xlabel=across[1], ylabel=up[1])
    axis.margins(0.12)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(_drawable(title), loc="left", fontsize=10, parse_math=False)
    return save_figure(figure, path)


def matrix(entries, classes, together):
    """Counts (rows, columns), `together` classes per cell; a further column for others, if there are any."""
    rows = np.searchsorted(classes, entries[:, 0]) // together
    side = -(-len(classes) // together)
    known = np.isin(entries[:, 1], classes)
    columns = np.where(known, np.searchsorted(classes, entries[:, 1]) // together, side)
    counts = np.zeros((side, side + (not known.all())), "int64")
    np.add.at(counts, (rows, columns), entries[:, 2])
    return counts


def _side(cells):
    """Side of the matrix, with cells large enough for counts, or for names, or as large as a screen allows."""
    if cells <= COUNTED:
        return max(2.6, cells * (0.62 if cells <= 12 else 0.4))
    return max(8.0, cells * 0.15) if cells <= NAMED else 9.0


def _draw_counts(axis, bar, counts, cell):
    """Colours are shares of the row, numbers are counts."""
    shares = counts / counts.sum(1, keepdims=True)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.figure.colorbar(image, cax=bar, label="share of the class's images")
    size = min(11.0, 72 * cell * 0.9 / (0.65 * len(str(counts.max()))))
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.55 else "black"
            axis.text(column, row, str(count), ha="center", va="center", color=color, fontsize=size)


def _draw_heat_map(axis, bar, counts, cell):
    """Colours are counts on a logarithmic scale; one image differs clearly from none."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    rows, columns = np.nonzero(counts)
    order = np.argsort(counts[rows, columns], kind="stable")  # the larger on top
    rows, columns = rows[order], columns[order]
    visible = ListedColormap(colormaps["YlGnBu"](np.linspace(0.4, 1, 256)))
    norm = LogNorm(1, max(10, counts.max()))
    area = (72 * max(cell, DOT)) ** 2  # of a marker, in square points
    shown = {"marker": "s", "cmap": visible, "norm": norm, "linewidths": 0}
    dots = axis.scatter(columns, rows, s=area, c=counts[rows, columns], **shown)
    axis.set(xlim=(-0.5, counts.shape[1] - 0.5), ylim=(len(counts) - 0.5, -0.5))
    axis.figure.colorbar(dots, cax=bar, label="images", ticks=LogLocator(10, (1, 2, 5)))
    bar.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    bar.yaxis.set_minor_formatter(NullFormatter())


def _name_axes(axis, shape, names, side):
    rows, columns = shape
    predicted = [*names, *["others"] * (columns - rows)]
    size = min(10.0, 0.8 * 72 * side / rows)
    fits = max(map(len, predicted)) * size * 0.65 < 72 * side / rows
    axis.set_yticks(range(rows), names, fontsize=size, parse_math=False)
    axis.set_xticks(range(columns), predicted, fontsize=size, rotation=0 if fits else 90, parse_math=False)
    axis.set_ylabel("true class", fontsize=11)
    axis.set_xlabel("prediction", fontsize=11)


def _number_axes(axis, shape, classes, together):
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(10, integer=True, steps=(1, 2, 5, 10)).tick_values(0, len(classes) - 1).astype(int)
    ticks = ticks[ticks < 0.97 * len(classes)]  # leaves room for the label of the last column
    others = shape[1] - shape[0]
    axis.set_yticks(ticks / together, classes[ticks])
    axis.set_xticks([*ticks / together, *[shape[0]] * others], [*classes[ticks], *["others"] * others])
    axis.set_ylabel("number of the true class", fontsize=11)
    axis.set_xlabel("number of the predicted class", fontsize=11)


def _list_mistakes(axis, entries, names):
    """The most frequent mistakes, as lines beside the colour bar; of many, only those made more than once."""
    mistakes = most_confused(entries)
    listed = mistakes if len(mistakes) <= LISTED else mistakes[mistakes[:, 2] > 1][:LISTED]
    images = np.bincount(entries[:, 0], entries[:, 2]).astype(int)
    total = int(mistakes[:, 2].sum())
    lines = [f"{total:,} mistake{'s' * (total != 1)}"]
    if len(listed):
        lines.append("")
    for label, taken_for, times in listed.tolist():
        pair = f"{short_name(names[label], label)} → {short_name(names[taken_for], taken_for)}"
        lines.append(f"{times} of {images[label]}  {pair}")
    if len(mistakes) > len(listed):
        lines.append(f"and {len(mistakes) - len(listed):,} other pairs of classes")
    axis.annotate(
        "\n".join(lines),
        (1, 1),
        xytext=(62, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=9,
        linespacing=1.35,
        parse_math=False,
    )


def short_name(name, number):
    """A class's name, shortened; "class NUMBER" where the font lacks a character."""
    if not _characters().issuperset(name):
        return f"class {number}"
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _drawable(text):
    """The text with a question mark for each character that the font lacks."""
    return "".join(character if character in _characters() else "?" for character in text)


@functools.cache
def _characters():
    """The characters of matplotlib's own font."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(map(chr, get_font(findfont("DejaVu Sans")).get_charmap()))


def _figure(*places):
    """A figure without a window, and axes at (left, bottom, width, height)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    return figure, [figure.add_axes(place) for place in places]


def save_figure(figure, path):
    """Write a figure, cropped to its contents; the path."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=130, bbox_inches="tight", pad_inches=0.2)
    return path
