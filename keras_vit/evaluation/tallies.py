"""Counts per class, and what follows from them: recall, precision, F1, balanced accuracy.

They are of images with one class or with several, can be summed over batches, and are all in [0, 1]. A mean over
classes ("macro") is one over the classes that have images: of the others no recall is known.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tallies:
    """Per class k, how many images have it, how many were predicted to have it, and how many both.

    In the usual words: hits are the true positives, images - hits the false negatives, predicted - hits the false
    positives.
    """

    hits: np.ndarray  # int64 (K,)
    images: np.ndarray  # int64 (K,)
    predicted: np.ndarray  # int64 (K,)

    def __add__(self, other):
        return Tallies(self.hits + other.hits, self.images + other.images, self.predicted + other.predicted)

    @property
    def recall(self):
        """Of a class's images, the share that was predicted to have it, float64 (K,); NaN without images."""
        return _share(self.hits, self.images)

    @property
    def precision(self):
        """Of the images predicted to have a class, the share that has it, float64 (K,); NaN where there are none."""
        return _share(self.hits, self.predicted)

    @property
    def f1(self):
        """The harmonic mean of precision and recall, float64 (K,); NaN for classes without images."""
        return np.where(self.images > 0, _share(2 * self.hits, self.images + self.predicted), np.nan)

    @property
    def balanced_accuracy(self):
        """The mean of the classes' recalls; 0 if no class has an image."""
        return mean_of_known(self.recall)

    @property
    def macro_f1(self):
        """The mean of the classes' F1; 0 if no class has an image."""
        return mean_of_known(self.f1)

    @property
    def micro_f1(self):
        """F1 over all (image, class) pairs together; of one class per image, the accuracy. 0 if there are none."""
        return float(2 * self.hits.sum() / max(1, self.images.sum() + self.predicted.sum()))


def tally(labels, predicted, classes):
    """The `Tallies` of images with one class each.

    Args:
        labels, predicted: numbers of the true and of the predicted classes, (N,).
        classes: K.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    chosen = labels[labels == predicted], labels, predicted
    return Tallies(*(np.bincount(numbers, minlength=classes) for numbers in chosen))


def mean_of_known(values):
    """The mean of the values that are not NaN; 0 if all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _share(part, whole):
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
