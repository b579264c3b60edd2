"""Predictions for labelled image files, a batch at a time."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.prediction.many import best_classes, predict_files
from keras_vit.system import places


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
    known: np.ndarray | None = None  # float32 (N,), the score by which an image is known, of a model that has one

    @property
    def hits(self):
        """bool (N, k): whether the class is the first, the second, ... the k-th prediction."""
        return self.best == self.labels[:, None]

    @property
    def judged(self):
        """The best class's score of every image, and whether it is right: float32 (N,), bool (N,)."""
        return self.scores[:, 0], self.hits[:, 0]


@dataclass(frozen=True)
class MultiLabelPredictions:
    """N readable images with any number of classes each, and the probabilities of all K classes."""

    paths: tuple[Path, ...]  # N
    labels: np.ndarray  # bool (N, K): which classes an image has
    scores: np.ndarray  # float32 (N, K)
    thresholds: np.ndarray  # float32 (K,): an image is predicted to have a class if its score is at least that
    names: tuple[str, ...]  # K, of the classes
    bad: tuple[tuple[Path, str], ...] = ()  # files that could not be read, and why
    known: np.ndarray | None = None  # float32 (N,), the score by which an image is known, of a model that has one

    @property
    def predicted(self):
        """bool (N, K): which classes an image is predicted to have."""
        return self.scores >= self.thresholds

    @property
    def judged(self):
        """The score of every class of every image, and whether the image has it: float32 (N K,), bool (N K,)."""
        return self.scores.ravel(), self.labels.ravel()


def evaluate(predictor, images, batch_size=32, max_bad_fraction=0.05, progress=None):
    """Run a predictor on labelled images.

    Args:
        predictor: a `keras_vit.Predictor`.
        images: (path, number of the class) pairs; (path, numbers of the classes) for a predictor of several labels.
        batch_size: images per batch.
        max_bad_fraction: largest share of unreadable files, in [0, 1].
        progress: None, or a function called with (images done, all images) after every batch.

    Returns:
        `Predictions`, with k = 5, or fewer where there are fewer classes, or the predictor ranks fewer; of several
        labels per image `MultiLabelPredictions`.

    Raises:
        ValueError: without images, for a class out of range, for scores that are not finite, or naming the first
            unreadable images if there are too many.
    """
    several, K = predictor.multi_label, len(predictor.labels)
    images = [(places.path_of(path), _numbers(path, label, several)) for path, label in images]
    _check(images, K, batch_size, max_bad_fraction)
    k, rows, bad = min(5, K, predictor.top_k or 5), [], []
    for answer, numbers in _answers(predictor, images, batch_size, progress):
        if answer.scores is None:
            bad.append((answer.path, answer.reason))
            _refuse_too_many(bad, len(images), max_bad_fraction)
        else:
            best, scores = best_classes(answer, k)  # which checks that they are finite
            rows.append((answer.path, numbers, *((answer.scores,) if several else (best, scores)), answer.known))
    if not rows:
        raise ValueError(f"None of the {len(images)} images can be read, {bad[0][0]} for one: {bad[0][1]}")
    paths, numbers, *found, known = zip(*rows)
    found, known = map(np.stack, found), None if known[0] is None else np.array(known, "float32")
    if several:
        labels = np.stack([np.isin(np.arange(K), row) for row in numbers])
        return MultiLabelPredictions(paths, labels, *found, predictor.thresholds, predictor.labels, tuple(bad), known)
    return Predictions(paths, np.array(numbers)[:, 0], *found, predictor.labels, tuple(bad), known)


def _numbers(path, label, several):
    """The numbers of an image's classes, a tuple."""
    if np.ndim(label) == 0:
        return (int(label),)
    if not several:
        raise ValueError(f"{path}: the model knows one class per image. Received: {tuple(label)}.")
    return tuple(map(int, label))


def _answers(predictor, images, batch_size, progress):
    """(`Answer`, numbers of the classes) of each image."""
    with contextlib.closing(predict_files(predictor, [path for path, _ in images], batch_size)) as answers:
        for done, (answer, (_, numbers)) in enumerate(zip(answers, images), 1):
            yield answer, numbers
            if progress and (done % batch_size == 0 or done == len(images)):
                progress(done, len(images))


def _check(images, classes, batch_size, max_bad_fraction):
    if not images or batch_size < 1 or not 0 <= max_bad_fraction <= 1:
        raise ValueError(
            "evaluate needs one image or more, batch_size >= 1 and max_bad_fraction in [0, 1]. Received: "
            f"{len(images)} images, batch_size={batch_size}, max_bad_fraction={max_bad_fraction}."
        )
    for path, numbers in images:
        wrong = [number for number in numbers if not 0 <= number < classes]
        if wrong:
            raise ValueError(f"{path}: expected the number of a class, 0 to {classes - 1}. Received: {wrong[0]}.")


def _refuse_too_many(bad, total, fraction):
    if len(bad) > fraction * total:
        names = ", ".join(str(path) for path, _ in bad[:3])
        raise ValueError(
            f"{len(bad)} or more of {total} images cannot be read, above the allowed share of {fraction:g}: {names}"
            f"{', ...' if len(bad) > 3 else ''}. To allow more, raise --max-bad-fraction."
        )
