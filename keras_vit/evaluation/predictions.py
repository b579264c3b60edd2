"""Predictions for labelled image files, a batch at a time."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.prediction.many import best_classes, predict_files


@dataclass(frozen=True)
class Predictions:
    """N readable images, their classes, and the k best predictions, best first.

    Of equal scores the class with the lower number comes first, as in argmax, tf.math.top_k and
    `keras_vit.decode_predictions`; quantized models often give equal scores.
    """

    paths: tuple[Path, ...]  # N
    labels: np.ndarray  # int64 (N,), numbers of the true classes
    best: np.ndarray  # int64 (N, k)
    scores: np.ndarray  # float32 (N, k)
    names: tuple[str, ...]  # K, of the classes
    bad: tuple[tuple[Path, str], ...] = ()  # files that could not be read, and why

    @property
    def hits(self):
        """bool (N, k): whether the class is the first, the second, ... the k-th prediction."""
        return self.best == self.labels[:, None]


def evaluate(predictor, images, batch_size=32, max_bad_fraction=0.05, progress=None):
    """Run a predictor on labelled images.

    Args:
        predictor: a `keras_vit.Predictor`.
        images: (path, number of the class) pairs.
        batch_size: images per batch.
        max_bad_fraction: largest share of unreadable files, in [0, 1].
        progress: None, or a function called with (images done, all images) after every batch.

    Returns:
        `Predictions`, with k = 5, or fewer where there are fewer classes, or the predictor ranks fewer.

    Raises:
        ValueError: without images, for a class out of range, for scores that are not finite, or naming the first
            unreadable images if there are too many.
    """
    images = [(Path(path), int(label)) for path, label in images]
    _check(images, len(predictor.labels), batch_size, max_bad_fraction)
    k = min(5, len(predictor.labels), predictor.top_k or 5)
    good, best, scores, bad = [], [], [], []
    with contextlib.closing(predict_files(predictor, [path for path, _ in images], batch_size)) as answers:
        for done, (answer, (path, label)) in enumerate(zip(answers, images), 1):
            if answer.scores is None:
                bad.append((path, answer.reason))
                _refuse_too_many(bad, len(images), max_bad_fraction)
            else:
                good.append((path, label))
                ranked = best_classes(answer, k)
                best.append(ranked[0])
                scores.append(ranked[1])
            if progress and (done % batch_size == 0 or done == len(images)):
                progress(done, len(images))
    if not good:
        raise ValueError(f"None of the {len(images)} images can be read, {bad[0][0]} for one: {bad[0][1]}")
    paths, labels = zip(*good)
    return Predictions(paths, np.array(labels), np.stack(best), np.stack(scores), predictor.labels, tuple(bad))


def _check(images, classes, batch_size, max_bad_fraction):
    if not images or batch_size < 1 or not 0 <= max_bad_fraction <= 1:
        raise ValueError(
            "evaluate needs one image or more, batch_size >= 1 and max_bad_fraction in [0, 1]. Received: "
            f"{len(images)} images, batch_size={batch_size}, max_bad_fraction={max_bad_fraction}."
        )
    path, label = next(((path, label) for path, label in images if not 0 <= label < classes), (None, None))
    if path:
        raise ValueError(f"{path}: expected the number of a class, 0 to {classes - 1}. Received: {label}.")


def _refuse_too_many(bad, total, fraction):
    if len(bad) > fraction * total:
        names = ", ".join(str(path) for path, _ in bad[:3])
        raise ValueError(
            f"{len(bad)} or more of {total} images cannot be read, above the allowed share of {fraction:g}: {names}"
            f"{', ...' if len(bad) > 3 else ''}. To allow more, raise --max-bad-fraction."
        )
