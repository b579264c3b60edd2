"""Pictures of a run: what it learns from, how it learned, and what it makes of pictures it never saw.

Colours are of the Okabe-Ito set, which people with any colour vision tell apart; lines differ in their dashes too,
and a mistake has a frame and words besides its colour.
"""

import math
from pathlib import Path

import numpy as np

from keras_vit.files import atomic_file

BLUE, ORANGE, VERMILION, GREY = "#0072B2", "#E69F00", "#D55E00", "#4D4D4D"
LARGEST_SHEET = 100  # thumbnails


def save_curves(folder, history, best, title):
    """curves.png: loss and accuracy of training and validation over the epochs, the row `best` of them marked."""
    figure, (left, right) = _figure(10, 4.2, 1, 2)
    epochs = [row["epoch"] + 1 for row in history]
    panels = (
        (left, "cross entropy (nats)", "train_loss", "eval_loss"),
        (right, "accuracy (%)", "train_top1", "eval_top1"),
    )
    for axis, quantity, train, val in panels:
        marker = "." if len(history) < 40 else None
        learned, judged = ([row[name] for row in history] for name in (train, val))
        axis.plot(epochs, learned, "--", c=ORANGE, marker=marker, label="training")
        axis.plot(epochs, judged, "-", c=BLUE, marker=marker, label="validation")
        axis.plot(best["epoch"] + 1, best[val], "o", c=BLUE, ms=9, mfc="none", label="best checkpoint")
        axis.set(xlabel="epoch", ylabel=quantity)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    right.legend(loc="lower right", frameon=False)
    left.set_title("training: of augmented pictures, with the recipe's label smoothing", fontsize=9)
    figure.suptitle(title)
    return _save(figure, Path(folder) / "curves.png")


def save_sheet(folder, read, labels, predictions, classes, title, shown=60):
    """held_out.png: thumbnails with predicted labels, the mistakes first, framed and named.

    Args:
        read: number of a picture -> uint8 (H0, W0, 3).
        labels, predictions: numbers of classes, one per picture.
        classes: their names.
        shown: thumbnails, if the mistakes are not more; LARGEST_SHEET at most.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    wrong = np.flatnonzero(labels != predictions)[:LARGEST_SHEET]
    right = np.flatnonzero(labels == predictions)
    spaced = np.linspace(0, len(right) - 1, max(0, min(shown - len(wrong), len(right))))
    chosen = [*wrong, *right[np.unique(spaced.astype(int))]]
    columns = min(10, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure, axes = _figure(1.15 * columns, 1.5 * rows + 0.8, rows, columns)
    for axis in np.ravel(axes):
        axis.axis("off")
    for axis, index in zip(np.ravel(axes), chosen):
        _thumbnail(axis, read(index), classes[predictions[index]], classes[labels[index]])
    figure.suptitle(title)
    return _save(figure, Path(folder) / "held_out.png")


def save_batch(folder, name, images, titles, title):
    """A sheet of pictures as they are, each below its title.

    Args:
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


def _thumbnail(axis, image, predicted, actual):
    small = max(image.shape) < 64  # show scans of a few pixels as they are, photographs smoothly
    axis.imshow(image, interpolation="nearest" if small else "antialiased")
    if predicted == actual:
        axis.set_title(_clip(predicted), color=GREY, fontsize=9, pad=3)
        return
    text = f"{_clip(predicted)}\nis {_clip(actual)}"
    axis.set_title(text, color=VERMILION, fontsize=9, pad=5, weight="bold")
    axis.axis("on")
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color=VERMILION, linewidth=3)


def _clip(name):
    return name if len(name) <= 12 else name[:11] + "…"


def _figure(width, height, rows, columns):
    """A figure without a window, whatever backend is configured."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    return figure, figure.subplots(rows, columns)


def _save(figure, path):
    with atomic_file(path) as temporary:
        figure.savefig(temporary)
    return path
