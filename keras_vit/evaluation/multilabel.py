"""Measures of images that have any number of classes, from independent scores of the classes.

Average precision is the area below the curve of precision over recall, as a sum of steps: over the different scores s
from high to low, (recall(s) - recall before) x precision(s), where an image is taken if its score is at least s. It
needs no threshold. mAP is its mean over the classes that have images. F1 depends on a threshold per class; those that
are best on given images are `best_thresholds`.

All measures are in [0, 1].
"""

from dataclasses import dataclass

import numpy as np

from keras_vit.evaluation.tallies import Tallies, mean_of_known

THRESHOLD = 0.5  # of a probability, where nothing was chosen


@dataclass(frozen=True)
class MultiLabelAccuracy:
    """What is measured of `MultiLabelPredictions`."""

    images: int
    average_precision: np.ndarray  # float64 (K,), NaN for a class that no image has
    tallies: Tallies  # at the thresholds
    exact: int  # images that have exactly the predicted classes

    @property
    def map(self):
        """Mean average precision, over the classes that have images."""
        return mean_of_known(self.average_precision)

    @property
    def measures(self):
        """What stands for the accuracy, in percent, by the names that files have for it."""
        return {"map": 100 * self.map, "macro_f1": 100 * self.tallies.macro_f1}


def multilabel_accuracy(predictions):
    """The `MultiLabelAccuracy` of `MultiLabelPredictions`."""
    taken = predictions.scores, predictions.labels
    return MultiLabelAccuracy(
        len(predictions.paths),
        average_precisions(*taken),
        tally_several(*taken, predictions.thresholds),
        int(exact_matches(*taken, predictions.thresholds).sum()),
    )


def average_precision(scores, labels):
    """The average precision of one class.

    Args:
        scores: (N,).
        labels: (N,), whether an image has the class: 0 or 1, or bool.

    Returns:
        A float; NaN if no image has the class.
    """
    hits, taken, _ = _by_score(scores, labels)
    if not len(hits) or not hits[-1]:
        return float("nan")
    return float((np.diff(hits, prepend=0) / hits[-1] * (hits / taken)).sum())


def average_precisions(scores, labels):
    """The `average_precision` of every class, float64 (K,), from scores and labels (N, K)."""
    scores, labels = _checked(scores, labels)
    return np.array([average_precision(scores[:, k], labels[:, k]) for k in range(scores.shape[1])])


def mean_average_precision(scores, labels):
    """mAP: the mean of `average_precisions` over the classes that have images; 0 if none has."""
    return mean_of_known(average_precisions(scores, labels))


def tally_several(scores, labels, thresholds=THRESHOLD):
    """The `Tallies` of images with several classes: micro and macro F1, recall and precision per class.

    Args:
        scores: (N, K).
        labels: (N, K), 0 or 1.
        thresholds: (K,), or one for all classes; an image has a class if its score is at least that.
    """
    scores, labels = _checked(scores, labels)
    predicted = scores >= np.asarray(thresholds, scores.dtype)
    return Tallies((predicted & labels).sum(0), labels.sum(0), predicted.sum(0))


def exact_matches(scores, labels, thresholds=THRESHOLD):
    """Which images have exactly the predicted classes, bool (N,); arguments as of `tally_several`."""
    scores, labels = _checked(scores, labels)
    return ((scores >= np.asarray(thresholds, scores.dtype)) == labels).all(1)


def best_thresholds(scores, labels):
    """The threshold of every class with the highest F1 on these images.

    It lies half-way between two scores that occur, so that it divides other images as well as it can. Of thresholds
    with equal F1, the one nearest to 0.5 is taken; a class that no image has, or all have, gets 0.5.

    Args:
        scores: (N, K), probabilities.
        labels: (N, K), 0 or 1.

    Returns:
        (K,), of the scores' type: rounded so that a comparison in that type divides these images as intended.
    """
    scores, labels = _checked(scores, labels)
    found = [_best_threshold(scores[:, k], labels[:, k]) for k in range(scores.shape[1])]
    return np.array(found, scores.dtype)


def _best_threshold(scores, labels):
    if labels.all() or not labels.any():
        return THRESHOLD
    hits, taken, values = _by_score(scores, labels)
    f1 = 2 * hits / (taken + hits[-1])
    below = np.append(values[1:], 0).astype(scores.dtype)  # the next score, which is not taken any more
    half_way = below + (values - below) / 2
    candidates = np.where(half_way > below, half_way, values)[f1 >= f1.max() - 1e-12]
    return candidates[np.abs(candidates - THRESHOLD).argmin()]


def _by_score(scores, labels):
    """How many images are taken at each different score, and how many of them have the class.

    Returns:
        (int64 (s,) images with the class, int64 (s,) images, (s,) the scores), by falling score.
    """
    scores, labels = np.asarray(scores), np.asarray(labels, bool)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(labels[order])
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])  # of images with equal scores
    return hits[last], last + 1, scores[last]


def _checked(scores, labels):
    """The scores, and the labels as bool; a ValueError if their shapes are not the same (N, K)."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(
            f"Expected scores and labels of the same shape, (images, classes). Received: {scores.shape}, "
            f"{labels.shape}."
        )
    return scores, labels.astype(bool)
