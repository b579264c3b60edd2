"""The files of an evaluation of images with several labels.

metrics.json       mAP, micro and macro F1, exact matches, calibration error, counts, and the unreadable images
classes.csv        per class: images, average precision, threshold, recall, precision, F1
classes.png        average precision and F1 of the classes, the worst first
calibration.csv    per bin of probability: classes of images, the share of them that the image has, mean probability
reliability.png    the same as a figure
unknown.png        with images of no class: the scores of those and of the known
"""

from pathlib import Path

import numpy as np

from keras_vit.evaluation import figures
from keras_vit.evaluation.calibration import calibration
from keras_vit.evaluation.multilabel import multilabel_accuracy
from keras_vit.evaluation.report import percent, write_common, write_csv
from keras_vit.images.manifest import BETWEEN

CLASSES = ("number", "class", "n", "predicted", "average_precision", "threshold", "recall", "precision", "f1")


def write_multilabel_report(folder, predictor, predictions, unknown=None):
    """Write all of the above into a folder, each file whole or not at all.

    Args:
        folder: made if it does not exist.
        predictor: the `Predictor` of the predictions.
        predictions: `MultiLabelPredictions`.
        unknown: the `unknown.Separation` from images of no class, if measured.
    """
    folder, found, names = Path(folder), multilabel_accuracy(predictions), predictions.names
    write_csv(folder / "classes.csv", CLASSES, _classes(predictions, found))
    measured = {
        "n_images": found.images,
        "map": 100 * found.map,
        "micro_f1": 100 * found.tallies.micro_f1,
        "macro_f1": 100 * found.tallies.macro_f1,
        "exact": 100 * found.exact / found.images,
        "labels": int(found.tallies.images.sum()),
    }
    write_common(folder, predictor, predictions, calibration(predictions), measured, unknown)
    title = f"{predictor.name} ({predictor.kind}): mAP {100 * found.map:.2f} % on {found.images:,} images"
    columns = {"average precision": found.average_precision, "F1 at the threshold": found.tallies.f1}
    figures.save_classes(folder / "classes.png", names, columns, title)


def write_multilabel_predictions(path, predictions):
    """Write a CSV file with a line per readable image: the classes that it has, those predicted, and their scores.

    Classes are joined by "|", scores likewise; with none the entry is empty.
    """
    names, predicted = np.array(predictions.names, object), predictions.predicted
    write_csv(
        path,
        ("path", "labels", "predicted", "scores"),
        (
            (
                file,
                BETWEEN.join(names[has]),
                BETWEEN.join(names[given]),
                BETWEEN.join(f"{s:.6g}" for s in scores[given]),
            )
            for file, has, given, scores in zip(predictions.paths, predictions.labels, predicted, predictions.scores)
        ),
    )


def _classes(predictions, found):
    counted, precision = found.tallies, found.average_precision
    for k, name in enumerate(predictions.names):
        measures = map(percent, (counted.recall[k], counted.precision[k], counted.f1[k]))
        counts = counted.images[k], counted.predicted[k]
        yield k, name, *counts, percent(precision[k]), f"{predictions.thresholds[k]:.6g}", *measures
