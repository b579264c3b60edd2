"""Counting what was predicted: accuracy, confusions, accuracy per class."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Accuracy:
    """Counts of pictures, and shares of them in percent."""

    images: int
    correct: int  # whose class is the best guess
    correct5: int  # whose class is among the best k guesses
    k: int  # 5, or less where the predictions hold less

    @property
    def top1(self):
        """Top-1 accuracy in percent."""
        return 100 * self.correct / self.images

    @property
    def top5(self):
        """Top-k accuracy in percent."""
        return 100 * self.correct5 / self.images


@dataclass(frozen=True)
class ClassAccuracy(Accuracy):
    """The same for the pictures of one class."""

    number: int  # of the class
    taken_for: int | None  # the class that most of its mistakes are, None without mistakes
    times: int  # pictures taken for that class


def accuracy(predictions):
    """Top-1 and top-5 `Accuracy` of `Predictions`."""
    return accuracy_of(predictions.hits)


def accuracy_of(hits):
    """The `Accuracy` of bool (N, k), one or more pictures: whether the first, the second, ... guess is right."""
    return Accuracy(len(hits), int(hits[:, 0].sum()), int(hits.any(1).sum()), hits.shape[1])


def confusion(predictions):
    """The entries of the confusion matrix that are not 0, as rows (class, prediction, pictures).

    Output: int64 (E, 3), sorted; the whole matrix of 21,843 classes would take gigabytes.
    """
    pairs = np.stack([predictions.labels, predictions.best[:, 0]], axis=1)
    entries, counts = np.unique(pairs, axis=0, return_counts=True)
    return np.concatenate([entries, counts[:, None]], axis=1)


def most_confused(entries):
    """Of `confusion`'s entries the mistakes, most frequent first; equal ones in the order of the classes."""
    mistakes = entries[entries[:, 0] != entries[:, 1]]
    return mistakes[np.argsort(-mistakes[:, 2], kind="stable")]


def per_class(predictions):
    """A `ClassAccuracy` for each class that has pictures, by number; among equal mistakes the lower class is named."""
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
