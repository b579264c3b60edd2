"""A predictor of images that are numbers, and its files: what the tests of many images share."""

import itertools

import numpy as np

from keras_vit.prediction.predictor import Predictor
from keras_vit.prediction.to_file import Work, write_embeddings, write_predictions

BATCH = 4
IMAGES = [str(number) for number in range(30)]


class OfNumbers(Predictor):
    """A predictor of images that are numbers; every seventh cannot be read. Scores depend on the place in the batch."""

    def prepare(self, image):
        if int(image) % 7 == 3:
            raise ValueError(f"{image} is bad")
        return int(image)

    dim = 3


class Stop(Exception):
    pass


def numbers(weights, stop_after=None):
    calls = itertools.count()

    def run(batch):
        if next(calls) == stop_after:
            raise Stop
        places = np.arange(len(batch), dtype="float32")
        return np.stack([np.array(batch, "float32"), places, np.full(len(batch), len(batch), "float32")], 1) / 64

    return OfNumbers("toy", "toy", ("a", "b", "c"), None, run, weights, input_values="pixels")


def predictions(path, predictor, shard=None, batch_size=BATCH, images=IMAGES, **more):
    return write_predictions(Work(images, path, batch_size, shard), predictor, 2, **more)


def embeddings(path, predictor, shard=None, **more):
    return write_embeddings(Work(IMAGES, path, BATCH, shard), predictor, "toy", **more)


WAYS = [
    *((predictions, suffix) for suffix in (".csv", ".jsonl", ".parquet")),
    *((embeddings, suffix) for suffix in (".npz", ".parquet")),
]
