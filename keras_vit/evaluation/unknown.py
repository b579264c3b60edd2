"""How well a model tells images of none of its classes from images of its classes, by its score of known images.

The area below the ROC curve (AUROC) is the chance that a known image has a higher score than an unknown one, of equal
scores half: 1 if a threshold divides them without a mistake, 0.5 for a score that knows nothing (Hendrycks and Gimpel,
arXiv:1610.02136). What the run's own threshold does is told beside.
"""

import contextlib
from dataclasses import dataclass

import numpy as np

from keras_vit.images.listing import list_images
from keras_vit.prediction.many import predict_files


@dataclass(frozen=True)
class Separation:
    """The scores of known and of unknown images, and the threshold below which an image is unknown."""

    score: str  # "energy" or "max_logit"
    threshold: float
    known: np.ndarray  # float32 (N,)
    unknown: np.ndarray  # float32 (U,)
    bad: tuple = ()  # (path, reason) of images of no class that cannot be read

    @property
    def auroc(self):
        """The area below the ROC curve, in [0, 1]."""
        return auroc(self.known, self.unknown)

    @property
    def rejected(self):
        """The share of the unknown images that is below the threshold."""
        return float((self.unknown < np.float32(self.threshold)).mean())

    @property
    def kept(self):
        """The share of the known images that is not."""
        return float((self.known >= np.float32(self.threshold)).mean())

    def entries(self):
        """All of it as JSON holds it, without the scores of the images; shares in percent."""
        return {
            **{"score": self.score, "threshold": self.threshold, "auroc": 100 * self.auroc},
            **{"rejected": 100 * self.rejected, "kept": 100 * self.kept},
            **{"n_unknown": len(self.unknown), "n_known": len(self.known), "unreadable": len(self.bad)},
        }


def auroc(known, unknown):
    """The area below the ROC curve of two sets of scores, of which those of the known images should be higher."""
    known, unknown = np.asarray(known), np.sort(unknown)
    below, up_to = (np.searchsorted(unknown, known, side=side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(unknown)))


def separation(predictor, predictions, folder, batch_size=32):
    """The `Separation` of images that were measured from those of a folder, at any depth, which are of no class.

    Args:
        predictor: a `keras_vit.Predictor` with a score of known images.
        predictions: `Predictions` or `MultiLabelPredictions` of the known images.
        folder: of the unknown images.
        batch_size: images per batch.

    Raises:
        ValueError: for a predictor without such a score, for a folder without images, or if none can be read.
    """
    require_score(predictor)
    scores, bad = [], []
    with contextlib.closing(predict_files(predictor, unknown_images(folder), batch_size)) as answers:
        for answer in answers:
            if answer.scores is None:
                bad.append((answer.path, answer.reason))
            else:
                scores.append(answer.known)
    if not scores:
        raise ValueError(f"None of the {len(bad)} images of {folder} can be read, {bad[0][0]} for one: {bad[0][1]}")
    entry = predictor.unknown
    return Separation(entry["score"], entry["threshold"], predictions.known, np.array(scores, "float32"), tuple(bad))


def require_score(predictor):
    """Raise a ValueError for a predictor that cannot tell unknown images."""
    if predictor.unknown is None:
        raise ValueError(
            f"{predictor.name} ({predictor.kind}) has no score by which an image is unknown. Train with "
            "--unknown-score energy, or max_logit; then the run and what is exported from it have one."
        )


def unknown_images(folder):
    """The paths of the images below a folder; a ValueError if there is none."""
    found = list_images(folder).images
    if not found:
        raise ValueError(f"{folder} holds no image. Expected a folder with images of none of the model's classes.")
    return found
