"""Calibration: of the images with confidence 0.8, are 80 % right?

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, arXiv:1706.04599, Sec. 2. An image's confidence
is the score of its best class; the confidences are divided into M bins ((m - 1) / M, m / M] of equal width. Where an
image may have several labels, every class of every image counts: of those with probability 0.8, do 80 % have the class?
"""

from dataclasses import dataclass

import numpy as np

BINS = 15  # M, as in the paper's tables


@dataclass(frozen=True)
class Calibration:
    """Per bin, from low to high confidence: images, correct predictions, and the sum of the confidences.

    Of several labels per image, in place of images: classes of images, and those of them that the image has.
    """

    images: np.ndarray  # int64 (M,)
    correct: np.ndarray  # int64 (M,)
    confidence: np.ndarray  # float64 (M,)
    several: bool = False  # whether images may have several labels

    @property
    def error(self):
        """Expected calibration error, in [0, 1]: |accuracy - mean confidence| of a bin, averaged over the images."""
        return float(np.abs(self.correct - self.confidence).sum() / self.images.sum())


def calibration(predictions, bins=BINS):
    """The `Calibration` of `Predictions` or `MultiLabelPredictions`.

    Raises:
        ValueError: for scores outside [0, 1].
    """
    confidence, right = predictions.judged
    confidence = confidence.astype("float64")
    if confidence.min() < -1e-6 or confidence.max() > 1 + 1e-6:
        raise ValueError(
            "Calibration needs probabilities, in [0, 1]. Received scores from "
            f"{confidence.min():.3g} to {confidence.max():.3g}."
        )
    upper = np.arange(1, bins + 1) / bins
    index = np.minimum(np.searchsorted(upper, confidence, side="left"), bins - 1)
    return Calibration(
        np.bincount(index, minlength=bins),
        np.bincount(index[right], minlength=bins),
        np.bincount(index, weights=confidence, minlength=bins),
        predictions.labels.ndim == 2,
    )
