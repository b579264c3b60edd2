"""The files of an evaluation, of one class per image; those of several are in `multilabel_report`.

metrics.json       top-1, top-5, balanced accuracy and macro F1, calibration error, counts, and the unreadable images
classes.csv        per class: accuracy (top1, which is its recall), precision, F1, and the most frequent mistake
confusions.csv     number of images per class and wrong prediction, most frequent first
confusion.png      the confusion matrix
calibration.csv    per bin of confidence: images, accuracy, mean confidence
reliability.png    the same as a figure
unknown.png        with images of no class: the scores of those and of the known
"""

import csv
import json
from pathlib import Path

import numpy as np

from keras_vit.evaluation import figures
from keras_vit.evaluation.calibration import calibration
from keras_vit.evaluation.metrics import accuracy, confusion, most_confused, per_class, tallies_of
from keras_vit.system.files import atomic_file

CLASSES = ("number", "class", "n", "correct", "top1", "top5", "most_often_taken_for", "times", "precision", "f1")
CONFUSIONS = ("class", "taken_for", "pictures", "class_number", "taken_for_number")
BINS = ("above", "up_to", "n", "accuracy", "confidence")


def write_report(folder, predictor, predictions, real=None, unknown=None):
    """Write all of the above into a folder, each file whole or not at all.

    Args:
        folder: made if it does not exist.
        predictor: the `Predictor` of the predictions.
        predictions: `Predictions`.
        real: the `Accuracy` by ImageNet-ReaL's labels, if measured; written to metrics.json.
        unknown: the `unknown.Separation` from images of no class, if measured.
    """
    folder, calibrated, total = Path(folder), calibration(predictions), accuracy(predictions)
    entries, names, counted = confusion(predictions), predictions.names, tallies_of(predictions)
    write_csv(folder / "classes.csv", CLASSES, _classes(per_class(predictions), counted, names))
    mistakes = most_confused(entries).tolist()
    write_csv(folder / "confusions.csv", CONFUSIONS, ((names[i], names[j], times, i, j) for i, j, times in mistakes))
    measured = {
        **_percent(total),
        "balanced_accuracy": 100 * counted.balanced_accuracy,
        "macro_f1": 100 * counted.macro_f1,
        **({} if real is None else {"imagenet_real": _percent(real)}),
    }
    title = f"{predictor.name} ({predictor.kind})"
    write_common(folder, predictor, predictions, calibrated, measured, unknown)
    right = f"{total.correct:,} of {total.images:,} images right ({total.top1:.2f} %)"
    figures.save_confusion(folder / "confusion.png", predictions, f"{title}: {right}")


def write_common(folder, predictor, predictions, calibrated, measured, unknown):
    """Write metrics.json and the files of calibration and of unknown images.

    Args:
        folder, predictor, predictions, unknown: as of `write_report`.
        calibrated: the `Calibration` of the predictions.
        measured: further entries of metrics.json.
    """
    write_csv(folder / "calibration.csv", BINS, _bins(calibrated))
    metrics = {
        "model": predictor.name,
        "runtime": predictor.runtime,
        "quant": predictor.quantization,
        **measured,
        "expected_calibration_error": calibrated.error,
        "mean_confidence": float(calibrated.confidence.sum() / calibrated.images.sum()),
        **({} if unknown is None else {"unknown": unknown.entries()}),
        "unreadable": [{"path": str(path), "reason": reason} for path, reason in predictions.bad],
    }
    with atomic_file(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    title = f"{predictor.name} ({predictor.kind})"
    figures.save_reliability(folder / "reliability.png", calibrated, title)
    if unknown is not None:
        figures.save_separation(folder / "unknown.png", unknown, title)


def write_predictions(path, predictions):
    """Write a CSV file with a line per readable image: its class, the rank of that class, the k best classes.

    The rank is 1 where the best prediction is right, 2 where the second is, ..., and empty where none of the k is.
    """
    k = predictions.best.shape[1]
    ranked = [f"{column}_{rank}" for rank in range(1, k + 1) for column in ("class", "label", "score")]
    rows = zip(predictions.paths, predictions.labels.tolist(), predictions.best.tolist(), predictions.scores.tolist())
    names = predictions.names
    write_csv(
        path,
        ("path", "class", "label", "rank", *ranked),
        (
            (path, number, names[number], best.index(number) + 1 if number in best else "")
            + tuple(entry for one, score in zip(best, scores) for entry in (one, names[one], f"{score:.6g}"))
            for path, number, best, scores in rows
        ),
    )


def write_csv(path, columns, rows):
    """Write a CSV file with these columns, whole or not at all."""
    encoding = {"encoding": "utf-8", "errors": "surrogateescape"}  # a path has the bytes that it has
    with atomic_file(path) as temporary, temporary.open("w", newline="", **encoding) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _classes(rows, counted, names):
    for row in rows:
        measures = percent(counted.precision[row.number]), percent(counted.f1[row.number])
        taken_for = "" if row.taken_for is None else names[row.taken_for]
        percents = f"{row.top1:.3f}", f"{row.top5:.3f}"
        yield row.number, names[row.number], row.images, row.correct, *percents, taken_for, row.times, *measures


def percent(share):
    """A share as a cell of a CSV file: in percent, empty where it is not known."""
    return "" if np.isnan(share) else f"{100 * share:.3f}"


def _bins(calibrated):
    bins = len(calibrated.images)
    counted = zip(calibrated.images.tolist(), calibrated.correct.tolist(), calibrated.confidence.tolist())
    for number, (n, correct, confidence) in enumerate(counted):
        means = (f"{correct / n:.6f}", f"{confidence / n:.6f}") if n else ("", "")
        yield f"{number / bins:.4f}", f"{(number + 1) / bins:.4f}", n, *means


def _percent(accuracy):
    return {"n_images": accuracy.images, "top1": accuracy.top1, "top5": accuracy.top5, "k": accuracy.k}
