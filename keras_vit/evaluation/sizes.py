"""A model at several image sizes: accuracy against cost, as a table, a CSV file and a figure.

sizes.csv   a line per size: the size, the crop, top-1 and top-5 accuracy, multiply-adds and milliseconds of an image
sizes.png   top-1 accuracy over multiply-adds

Where an image may have several labels, mAP and macro F1 stand for the two accuracies.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.evaluation import figures
from keras_vit.evaluation.metrics import Accuracy
from keras_vit.evaluation.report import write_csv
from keras_vit.preprocessing import Spec

RUNS = 3  # timed batches
NAMES = {"top1": "top-1", "map": "mAP", "macro_f1": "macro F1"}  # in tables and figures


@dataclass(frozen=True)
class AtSize:
    """A model at one image size."""

    spec: Spec  # its preprocessing, with the size
    accuracy: Any  # `Accuracy`, or of several labels `MultiLabelAccuracy`
    multiply_adds: int | None  # of one image; None where they cannot be counted
    milliseconds: float  # of one image, in a batch: the model alone
    real: Accuracy | None = None  # by ImageNet-ReaL's labels, if measured


def at_size(predictor, accuracy, batch_size=32, real=None):
    """What a predictor costs at its image size, with its accuracy there, an `AtSize`.

    Args:
        predictor: a `Predictor` of a Keras model.
        accuracy: its `Accuracy`.
        batch_size: images of the batches that are timed.
        real: the `Accuracy` by ImageNet-ReaL's labels, or None.
    """
    milliseconds = _milliseconds(predictor, min(batch_size, accuracy.images))
    return AtSize(predictor.spec, accuracy, _multiply_adds(predictor), milliseconds, real)


def as_table(measured):
    """The sizes as lines of text, in columns.

    Args:
        measured: `AtSize`s of one model.
    """
    names = [f"{_name(measured[0], column)} %" for column in measured[0].accuracy.measures]
    head = ["size", *names, "GMACs", "ms/image"]
    rows = [head + ["ReaL %"] * (measured[0].real is not None), *map(_cells, measured)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)


def write_sizes(folder, measured, title):
    """Write sizes.csv and sizes.png into a folder, each whole or not at all.

    Args:
        folder: made if it does not exist.
        measured: `AtSize`s of one model.
        title: of the figure.
    """
    first, second = measured[0].accuracy.measures
    columns = ("img_size", "crop_pct", first, second, "multiply_adds", "ms_per_image", "n_images", "real_top1")
    write_csv(Path(folder) / "sizes.csv", columns, map(_line, measured))
    counted = all(one.multiply_adds for one in measured)
    cost = [one.multiply_adds / 1e9 if counted else one.milliseconds for one in measured]
    label = "multiply-adds of an image, in billions" if counted else "milliseconds of an image"
    figures.save_curve(
        Path(folder) / "sizes.png",
        (cost, label),
        ([one.accuracy.measures[first] for one in measured], f"{_name(measured[0], first)} in percent"),
        [one.spec.size_name for one in measured],
        title,
    )


def _name(one, column):
    return f"top-{one.accuracy.k}" if column == "top5" else NAMES[column]


def _milliseconds(predictor, batch):
    """Median time of a batch, per image, after a first one, which may be compiled."""
    images, taken = [np.zeros((*predictor.spec.size, 3), "float32")] * batch, []
    for _ in range(1 + RUNS):
        start = time.perf_counter()
        predictor.run(images)
        taken.append(1000 * (time.perf_counter() - start) / batch)
    return float(np.median(taken[1:]))


def _multiply_adds(predictor):
    from keras_vit.analysis.counts import count

    if predictor.runtime != "keras-tensorflow":
        return None
    try:
        return count(predictor.model, predictor.spec.size).multiply_adds
    except ValueError:  # a network of other people's, whose graph has unknown shapes
        return None


def _cells(one):
    accuracies = [f"{value:.3f}" for value in one.accuracy.measures.values()]
    macs = "-" if one.multiply_adds is None else f"{one.multiply_adds / 1e9:.3g}"
    real = [f"{one.real.top1:.3f}"] if one.real else []
    return [one.spec.size_name, *accuracies, macs, f"{one.milliseconds:.3g}", *real]


def _line(one):
    accuracies = [f"{value:.3f}" for value in one.accuracy.measures.values()]
    cost = one.multiply_adds or "", f"{one.milliseconds:.4f}"
    real = f"{one.real.top1:.3f}" if one.real else ""
    return one.spec.size_name, one.spec.crop_pct, *accuracies, *cost, one.accuracy.images, real
