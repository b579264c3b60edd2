"""Whether an accuracy on labelled images is that of a working model; if not, what may be wrong.

A model that is fed other values than it was trained on still answers, at the rate of guessing. Only images with known
classes show it. Where an image may have several labels, classes are bool (N, K), and the mean of the Jaccard index
stands for the accuracy: of the classes that an image has or is given, the share that it both has and is given.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.preprocessing import INPUT_VALUES
from keras_vit.sources.run_folder import RUN

TRIED = 200  # images on which other input values are tried
POINTS = 0.1  # of accuracy, that others must be better by
DEVIATIONS = 3  # standard errors, that they must be better by
ENOUGH = 20  # images; of fewer nothing is said about guessing


@dataclass(frozen=True)
class Better:
    """Input values with which a model names more of the images rightly."""

    input_values: str  # of INPUT_VALUES
    accuracy: float  # with them, in [0, 1]
    own_values: str
    own_accuracy: float  # on the same images
    images: int

    def __str__(self):
        return (
            f"its accuracy on {self.images} of the images is {100 * self.own_accuracy:.2f} % where it is fed "
            f"{self.own_values} values, and {100 * self.accuracy:.2f} % where it is fed {self.input_values} values: "
            f"use --input-values {self.input_values} (in Python: input_values=)"
        )


def better_input_values(predictor, classes, best, prepared):
    """The input values that are clearly better than a predictor's own, as `Better`, else None.

    Args:
        predictor: a `Predictor`; None is returned for one without a Keras model.
        classes: numbers of the true classes, int (N,), or bool (N, K).
        best: those that it gives, of the same shape.
        prepared: function: number of an image, below N -> the image, prepared.
    """
    if predictor.model is None:
        return None
    picked = _evenly(len(classes))
    classes = np.asarray(classes)[picked]
    own = agreement(np.asarray(best)[picked], classes)
    if own > 1 - POINTS:  # which nothing can be better than by that much
        return None
    images, found = [prepared(int(number)) for number in picked], []
    for values in INPUT_VALUES:
        if values != predictor.input_values:
            other = agreement(given(predictor.taking(values).predict_prepared(images), predictor.thresholds), classes)
            if other - own > max(POINTS, DEVIATIONS * np.hypot(_error(own, len(picked)), _error(other, len(picked)))):
                found.append(Better(values, other, predictor.input_values, own, len(picked)))
    return max(found, key=lambda better: better.accuracy, default=None)


def doubts(predictor, classes, best, recorded=None):
    """What makes an accuracy suspicious, a sentence each.

    Args:
        predictor, classes, best: as for `better_input_values`.
        recorded: the accuracy that was measured on the same images before, in [0, 1].
    """
    classes, best, names = np.asarray(classes), np.asarray(best), predictor.labels
    N, K, accuracy, found = len(classes), len(names), agreement(best, classes), []
    if classes.ndim == 2:
        if N >= ENOUGH and (classes != classes[0]).any() and (best == best[0]).all():
            alike = ", ".join(names[k] for k in np.flatnonzero(best[0])) or "none of the classes"
            found.append(f"all {N} images get the same labels: {alike}")
    elif K > 1 and N >= ENOUGH:
        error = np.sqrt(1 / K * (1 - 1 / K) / N)
        if DEVIATIONS * error < (1 - 1 / K) / 2 and accuracy <= 1 / K + DEVIATIONS * error:
            found.append(f"an accuracy of {100 * accuracy:.2f} % is that of guessing one of {K} classes")
        if len(set(classes.tolist())) > 1 and len(set(best.tolist())) == 1:
            found.append(f"all {N} images get the same class, {names[best[0]]!r}")
    if recorded is not None and recorded - accuracy > max(POINTS, DEVIATIONS * _error(recorded, N)):
        found.append(f"its run had {100 * recorded:.2f} % on these images after training, not {100 * accuracy:.2f} %")
    return found


def given(scores, thresholds=None):
    """The classes that scores (N, K) give images: numbers (N,) of the best; with thresholds (K,) bool (N, K)."""
    return scores.argmax(-1) if thresholds is None else scores >= thresholds


def agreement(best, classes):
    """The accuracy of classes (N,); of bool (N, K) the mean of the Jaccard index, 1 for an image without any."""
    if np.ndim(classes) == 1:
        return float(np.mean(best == classes))
    either = (best | classes).sum(-1)
    return float(np.where(either == 0, 1.0, (best & classes).sum(-1) / np.maximum(either, 1)).mean())


def doubts_about(predictor, predictions, recorded=None):
    """`doubts` of `evaluation`'s predictions, and the input values that would be better, a sentence each."""
    classes, paths = predictions.labels, predictions.paths
    best = predictions.best[:, 0] if classes.ndim == 1 else predictions.predicted
    better = better_input_values(predictor, classes, best, lambda number: predictor.prepare(paths[number]))
    return [*doubts(predictor, classes, best, recorded), *([str(better)] if better else [])]


def recorded_accuracy(folder):
    """The accuracy on its test images that training wrote into a run folder, in [0, 1]; None where it did not."""
    path = Path(folder) / RUN
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    results = entries.get("held_out") or {}
    return results["top1"] / 100 if "top1" in results else None


def _evenly(number):
    return np.linspace(0, number - 1, min(number, TRIED)).astype(int)


def _error(accuracy, number):
    """Standard error of an accuracy, which is never taken for exactly 0 or 1."""
    share = (accuracy * number + 1) / (number + 2)
    return np.sqrt(share * (1 - share) / number)
