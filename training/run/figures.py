"""Figures of a run: its first batch, its curves, and its predictions on the test split.

The colours are of the Okabe-Ito set, which is distinguishable with any colour vision; lines differ in their dashes
too, and a mistake has a frame and text besides its colour.
"""

import math
import textwrap
from pathlib import Path

import numpy as np

from keras_vit.system.files import atomic_file

BLUE, ORANGE, VERMILION, GREY = "#0072B2", "#E69F00", "#D55E00", "#4D4D4D"
LARGEST_SHEET = 100  # thumbnails
LETTERS = 11  # of a title, above a thumbnail


def save_curves(folder, history, best, title):
    """Write curves.png: loss and accuracy of training and validation over the epochs, with the row `best` marked.

    Of images with several labels, mAP on the validation split stands in place of the accuracies.
    """
    figure, (left, right) = _figure(10, 4.2, 1, 2)
    epochs = [row["epoch"] + 1 for row in history]
    several = "eval_map" in best
    panels = (
        (left, "loss (nats)", "train_loss", "eval_loss"),
        (
            (right, "mean average precision (%)", None, "eval_map")
            if several
            else (right, "accuracy (%)", "train_top1", "eval_top1")
        ),
    )
    for axis, quantity, train, val in panels:
        marker = "." if len(history) < 40 else None
        if train:
            axis.plot(epochs, [row[train] for row in history], "--", c=ORANGE, marker=marker, label="training")
        axis.plot(epochs, [row[val] for row in history], "-", c=BLUE, marker=marker, label="validation")
        axis.plot(best["epoch"] + 1, best[val], "o", c=BLUE, ms=9, mfc="none", label="best checkpoint")
        axis.set(xlabel="epoch", ylabel=quantity)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    (left if several else right).legend(loc="best", frameon=False)
    left.set_title("training: augmented images, with the recipe's label smoothing", fontsize=9)
    figure.suptitle(title)
    return _save(figure, Path(folder) / "curves.png")


def save_sheet(folder, read, labels, predictions, classes, title, shown=60):
    """Write held_out.png: thumbnails with predicted labels, the mistakes first, framed and with their true labels.

    Args:
        read: function from the index of an image to uint8 (H0, W0, 3).
        labels, predictions: class numbers, (N,), or of several labels per image bool (N, K).
        classes: names of the classes.
        shown: number of thumbnails; more if there are more mistakes, LARGEST_SHEET at most.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    differ = (labels != predictions).reshape(len(labels), -1).any(1)
    wrong, right = np.flatnonzero(differ)[:LARGEST_SHEET], np.flatnonzero(~differ)
    spaced = np.linspace(0, len(right) - 1, max(0, min(shown - len(wrong), len(right))))
    chosen = [*wrong, *right[np.unique(spaced.astype(int))]]
    columns = min(10, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure, axes = _figure(1.15 * columns, 1.5 * rows + 0.8, rows, columns)
    for axis in np.ravel(axes):
        axis.axis("off")
    for axis, index in zip(np.ravel(axes), chosen):
        _thumbnail(axis, read(index), *(_named(one[index], classes) for one in (predictions, labels)))
    figure.suptitle(textwrap.fill(title, LETTERS * max(columns, 3)))
    return _save(figure, Path(folder) / "held_out.png")


def save_batch(folder, name, images, titles, title):
    """Write a sheet of images, each below its title.

    Args:
        name: of the file.
        images: uint8 (n, H, W, 3).
        titles: n texts.
    """
    columns = min(8, len(images))
    rows = math.ceil(len(images) / columns)
    figure, axes = _figure(1.6 * columns, 1.8 * rows + 0.6, rows, columns)
    for axis in np.ravel(axes):
        axis.axis("off")
    for axis, image, text in zip(np.ravel(axes), images, titles):
        axis.imshow(image, interpolation="nearest" if max(image.shape) < 64 else "antialiased")
        axis.set_title("\n".join(map(_clip, text.split(", "))), color=GREY, fontsize=8, pad=3)
    figure.suptitle(title)
    return _save(figure, Path(folder) / name)


def save_rates(path, curve, title):
    """Draw the loss over the learning rate on a logarithmic axis, with the suggestion of an `lr_finder.LRCurve`."""
    figure, axis = _figure(7, 4.2, 1, 1)
    axis.plot(curve.rates, curve.losses, ".", c=GREY, ms=3, alpha=0.6, label="loss of a batch")
    axis.plot(curve.rates, curve.smoothed, "-", c=BLUE, label="smoothed")
    suggestion = curve.suggestion
    axis.axvline(10 * suggestion, ls=":", c=ORANGE, label=f"lowest, {10 * suggestion:.2g}")
    axis.axvline(suggestion, ls="--", c=VERMILION, label=f"suggestion, {suggestion:.2g}")
    low, first = curve.losses.min(), curve.smoothed[0]  # where it has diverged the curve leaves the figure
    margin = 0.1 * max(first - low, 0.1)
    axis.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(low - margin, first + 5 * margin))
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    figure.suptitle(title)
    return _save(figure, path)


def _named(label, classes):
    """The name of a class, or of all classes that an image has, on a line each."""
    if np.ndim(label) == 0:
        return _clip(classes[label])
    return "\n".join(_clip(classes[k]) for k in np.flatnonzero(label)) or "none"


def _thumbnail(axis, image, predicted, actual):
    small = max(image.shape) < 64  # scans of a few pixels are drawn sharp, photographs are smoothed
    axis.imshow(image, interpolation="nearest" if small else "antialiased")
    if predicted == actual:
        axis.set_title(predicted, color=GREY, fontsize=9, pad=3)
        return
    text = f"{predicted}\nis {actual}"
    axis.set_title(text, color=VERMILION, fontsize=9, pad=5, weight="bold")
    axis.axis("on")
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color=VERMILION, linewidth=3)


def _clip(name):
    return name if len(name) <= 12 else name[:11] + "…"


def _figure(width, height, rows, columns):
    """A figure without a window, independent of the configured backend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    return figure, figure.subplots(rows, columns)


def _save(figure, path):
    with atomic_file(path) as temporary:
        figure.savefig(temporary)
    return path
