"""Counts over predictions: accuracy, confusions, accuracy per class."""

from dataclasses import dataclass

import numpy as np

from keras_vit.evaluation import multilabel, tallies


@dataclass(frozen=True)
class Accuracy:
    """Numbers of images, and accuracies in percent."""

    images: int
    correct: int  # whose class is the best prediction
    correct5: int  # whose class is among the best k predictions
    k: int  # 5, or fewer where the predictions have fewer

    @property
    def top1(self):
        """Top-1 accuracy in percent."""
        return 100 * self.correct / self.images

    @property
    def top5(self):
        """Top-k accuracy in percent."""
        return 100 * self.correct5 / self.images

    @property
    def measures(self):
        """The two accuracies by the names that files have for them."""
        return {"top1": self.top1, "top5": self.top5}


@dataclass(frozen=True)
class ClassAccuracy(Accuracy):
    """The same for the images of one class."""

    number: int  # of the class
    taken_for: int | None  # the class most often predicted by mistake, None without mistakes
    times: int  # images for which it was predicted


def accuracy(predictions):
    """Top-1 and top-5 `Accuracy` of `Predictions`; of several labels per image the `multilabel.MultiLabelAccuracy`."""
    if predictions.labels.ndim == 2:
        return multilabel.multilabel_accuracy(predictions)
    return accuracy_of(predictions.hits)


def accuracy_of(hits):
    """The `Accuracy` of bool (N, k), N >= 1: whether the first, the second, ... prediction is right."""
    return Accuracy(len(hits), int(hits[:, 0].sum()), int(hits.any(1).sum()), hits.shape[1])


def tallies_of(predictions):
    """The `Tallies` of `Predictions`: recall, precision and F1 per class, balanced accuracy, macro F1."""
    return tallies.tally(predictions.labels, predictions.best[:, 0], len(predictions.names))


def confusion(predictions):
    """The non-zero entries of the confusion matrix; the whole matrix of 21,843 classes would take gigabytes.

    Returns:
        int64 (E, 3), rows (class, prediction, images), sorted.
    """
    pairs = np.stack([predictions.labels, predictions.best[:, 0]], axis=1)
    entries, counts = np.unique(pairs, axis=0, return_counts=True)
    return np.concatenate([entries, counts[:, None]], axis=1)


def most_confused(entries):
    """The mistakes among the entries of `confusion`, most frequent first, ties in the order of the classes."""
    mistakes = entries[entries[:, 0] != entries[:, 1]]
    return mistakes[np.argsort(-mistakes[:, 2], kind="stable")]


def per_class(predictions):
    """A `ClassAccuracy` for each class that has images, by number; of equally frequent mistakes the lower class."""
    numbers, index = np.unique(predictions.labels, return_inverse=True)
    hits, k = predictions.hits, predictions.hits.shape[1]
    images, correct, correct5 = (
        np.bincount(index[chosen], minlength=len(numbers)).tolist() for chosen in (..., hits[:, 0], hits.any(1))
    )
    most = {}
    for label, taken_for, times in most_confused(confusion(predictions)).tolist():
        most.setdefault(label, (taken_for, times))
    return [
        ClassAccuracy(images[i], correct[i], correct5[i], k, number, *most.get(number, (None, 0)))
        for i, number in enumerate(numbers.tolist())
    ]
