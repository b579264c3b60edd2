"""Predictors with given scores, image files, and synthetic predictions."""

from pathlib import Path

import numpy as np
from PIL import Image

from keras_vit.evaluation import Predictions
from keras_vit.evaluation.predictions import MultiLabelPredictions
from keras_vit.prediction.predictor import Predictor
from keras_vit.sources.answers import Answers

LABELS = tuple("abcdefg")


def predictor_of(scores, top_k=None, labels=LABELS, known=None, **answers):
    """A predictor that returns the next rows of `scores`, whatever the image; with `known`, the next of these too."""
    rows, of_known = iter(scores), iter(() if known is None else known)

    def run(images):
        return np.stack([next(rows) for _ in images])

    def run_known(images):
        return run(images), np.array([next(of_known) for _ in images], "float32")

    more = {"answers": Answers(**answers), "run_known": None if known is None else run_known}
    return Predictor("keras model", "toy", labels, None, run, top_k=top_k, **more)


def images(folder, count, broken=()):
    """Paths of image files; those whose number is in `broken` are truncated."""
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((4, 4, 3), number, "uint8")).save(path)
        if number in broken:
            path.write_bytes(path.read_bytes()[:30])
    return paths


def predictions(labels, scores, names=LABELS, k=5):
    """`Predictions` of N images from their classes and the scores (N, K) of all classes, by brute force."""
    best = [sorted(range(len(row)), key=lambda number: (-row[number], number))[:k] for row in scores]
    kept = [[row[number] for number in numbers] for row, numbers in zip(scores, best)]
    paths = tuple(Path(f"{number}.png") for number in range(len(labels)))
    return Predictions(paths, np.array(labels), np.array(best), np.array(kept, "float32"), tuple(names))


def random_predictions(count, names, seed=0, k=5):
    """Seeded `Predictions`, right for about half of the images; every class has images if there are enough."""
    rng = np.random.default_rng(seed)
    labels, k = np.arange(count) % len(names), min(k, len(names))
    first = np.where(rng.random(count) < 0.5, labels, rng.integers(0, len(names), count))
    best = (first[:, None] + np.arange(k)) % len(names)
    scores = np.sort(rng.dirichlet(np.ones(k), count), axis=1)[:, ::-1].astype("float32")
    paths = tuple(Path(f"{number}.png") for number in range(count))
    return Predictions(paths, labels, best, scores, tuple(names))


def several_predictions(count=200, names=LABELS, seed=0):
    """Seeded `MultiLabelPredictions`, whose scores know something of the labels; no image has the last class."""
    rng = np.random.default_rng(seed)
    scores = rng.random((count, len(names))).astype("float32")
    labels = rng.random(scores.shape) < 0.8 * scores
    labels[:, -1] = False
    paths = tuple(Path(f"{number}.png") for number in range(count))
    return MultiLabelPredictions(
        paths, labels, scores, np.linspace(0.3, 0.8, len(names), dtype="float32"), tuple(names)
    )
