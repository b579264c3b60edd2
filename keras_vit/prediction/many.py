"""Predictions for any number of image files: read in threads ahead of the model, answered in order, in full batches.

Memory does not grow with the number of images: at most a few batches of prepared images are held.
"""

import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from keras_vit.system.remote import UnreachableError

READERS = 4  # threads that decode and resize while the model runs
AHEAD = 2  # batches read in advance


class _Answer(NamedTuple):
    path: Any  # as it was given
    scores: np.ndarray | None  # probabilities float32 (K,); None for a file that cannot be read
    reason: str | None = None  # why it cannot be read


class Answer(_Answer):
    """What a model says of one image file: path, scores, reason; beside these three, `known`."""

    known: float | None = None  # the score by which the image is known, of a model that has one


def predict_files(predictor, paths, batch_size=32):
    """Predict image files one after the other, without holding them all.

        for path, scores, reason in predict_files(keras_vit.Predictor.open("runs/photos"), paths):
            print(path, reason or predictor.labels[scores.argmax()])

    Args:
        predictor: a `keras_vit.Predictor`.
        paths: an iterable, of any length, of paths or of images as `keras_vit.images.stored` has them.
        batch_size: images per batch. Every batch is full: files that cannot be read take no place in it, and the last
            one is filled up where a full one ran before, so that a Keras model is not compiled for a second size.

    Returns:
        An iterator with an `Answer` per path, in the order of the paths. The images of a batch are answered together.

    Raises:
        ValueError: for a batch size below 1.
    """
    _require_positive(batch_size)
    return _flat(_batches(predictor, paths, batch_size))


def predict_batches(predictor, paths, batch_size, filled=False):
    """As `predict_files`, in lists of answers that always have the same images, whichever of them can be read.

    In place of a file that cannot be read, another of its batch is computed twice. So the batch of an image and its
    place there, and with them the last digits of its scores, follow from its place among all images alone.

    Args:
        filled: whether the last batch is filled up even if no full one ran before, as when the first batches of a list
            were answered by another process.
    """
    _require_positive(batch_size)
    return _batches(predictor, paths, batch_size, filled, aligned=True)


def _require_positive(batch_size):
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: {batch_size}.")


def best_classes(answer, k, thresholds=None):
    """Numbers of the k best classes of an answer, best first, and their scores, (k,) each; fewer where K is below k.

    With `thresholds` (K,), where an image may have several labels, only those whose scores reach them: maybe none.
    Of equal scores the class with the lower number comes first, as in argmax and `keras_vit.decode_predictions`.

    Raises:
        ValueError: naming the file, for scores that are not finite.
    """
    scores = answer.scores
    if not np.isfinite(scores).all():
        raise ValueError(f"The scores of {printable(answer.path)} are not finite; check the model's weights.")
    near = np.arange(len(scores)) if thresholds is None else np.flatnonzero(scores >= thresholds)
    if k < len(near):  # only what reaches the k-th largest is sorted: there may be 21,843 classes
        near = near[scores[near] >= np.partition(scores[near], -k)[-k]]
    best = near[np.argsort(-scores[near], kind="stable")][:k]
    return best, scores[best]


def printable(path):
    r"""A path as text that any file and terminal can hold: bytes of it that are not UTF-8 are shown as \udcXX."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def _flat(batches):
    with contextlib.closing(batches):
        for answers in batches:
            yield from answers


def _batches(predictor, paths, batch_size, filled=False, aligned=False):
    pool, compiled = ThreadPoolExecutor(READERS), predictor.model is not None
    try:
        prepared = _in_order(pool, lambda path: _prepared(predictor, path), paths, AHEAD * batch_size)
        for batch in _grouped(prepared, batch_size, aligned):
            yield _answered(predictor, batch, batch_size if filled and compiled else 0, aligned)
            filled = filled or any(image is not None for _, image, _ in batch)
    finally:
        pool.shutdown(cancel_futures=True)  # when the caller stops early, too


def _grouped(prepared, batch_size, aligned):
    """Lists of (path, image, reason) that have `batch_size` images, or, if `aligned`, so many entries."""
    batch, places = [], 0
    for one in prepared:
        batch.append(one)
        places += aligned or one[1] is not None
        if places in (0, batch_size):  # none: only files that cannot be read are waiting
            yield batch
            batch, places = [], 0
    if batch:
        yield batch


def _answered(predictor, batch, size, aligned):
    """The answers of a batch; at least `size` images are computed, if any can be read."""
    good = next((image for _, image, _ in batch if image is not None), None)
    if good is None:
        return [Answer(path, None, reason) for path, _, reason in batch]
    images = [good if image is None else image for _, image, _ in batch if aligned or image is not None]
    found = zip(*_run(predictor, images + (size - len(images)) * [good]))
    return [_answer(*one, next(found) if aligned or one[1] is not None else None) for one in batch]


def _answer(path, image, reason, found):
    if image is None:
        return Answer(path, None, reason)
    scores, known = found
    answer = Answer(path, scores)
    if known is not None:
        answer.known = float(known)
    return answer


def _run(predictor, batch):
    """Probabilities (B, K), and the scores of known images (B,), None each for a model without them."""
    run_known = getattr(predictor, "run_known", None)  # an `Embedder` has no answers
    return run_known(batch) if run_known else (predictor.run(batch), len(batch) * [None])


def _prepared(predictor, path):
    """(path, prepared image, None), or (path, None, why the file cannot be read)."""
    try:
        return path, predictor.prepare(path), None
    except UnreachableError:  # an object store that does not answer, which says nothing about the image
        raise
    except (ValueError, OSError) as error:
        return path, None, str(error) or type(error).__name__


def _in_order(pool, function, items, ahead):
    """Yield function(item) of every item, in order; the pool works at most `ahead` items in advance."""
    started = deque()
    for item in items:
        started.append(pool.submit(function, item))
        if len(started) > ahead:
            yield started.popleft().result()
    while started:
        yield started.popleft().result()
