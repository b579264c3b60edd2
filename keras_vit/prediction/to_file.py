"""Many images to one file of answers, or to a part of it: resumable, and the same bytes however it was done."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_vit.prediction.many import best_classes, predict_batches, printable
from keras_vit.prediction.resumable import Row, journal
from keras_vit.prediction.shards import part_of, part_path, request_of, write_facts


@dataclass(frozen=True)
class Work:
    """What is computed of many images, and where it goes.

    Args:
        images: a sequence, each a path or a `StoredImage`.
        output: path of the file.
        batch_size: images that the model takes at once.
        shard: (i, N) for the i-th of N parts, whose file is `part_path(output, shard)`; None for all.
    """

    images: Sequence
    output: str
    batch_size: int = 32
    shard: tuple[int, int] | None = None

    @property
    def path(self):
        """The file that is written."""
        return part_path(self.output, self.shard)

    @property
    def here(self):
        """The slice of the images that are this work's."""
        return part_of(len(self.images), self.batch_size, self.shard)


@dataclass(frozen=True)
class Written:
    """What became of the images."""

    rows: int
    images: int
    bad: list  # (name, reason) of those that could not be read


def write_answers(work, predictor, settings, row_of, writer, on_batch=lambda done, total: None):
    """Answer the images of a `Work` that no earlier process answered, and write its file.

    Args:
        predictor: a `Predictor` or an `Embedder`.
        settings: a dictionary of what rows depend on beside the model, the images and the batch size.
        row_of: from an `Answer` whose image was read to the values and numbers of its `Row`, a pair.
        writer: from a path to a context that yields the function which writes a `Row`.
        on_batch: is called with how many images are answered, and with the number of all, at the start and per batch.

    Returns:
        A `Written`.
    """
    names = map(str, work.images)
    request = request_of(predictor, len(work.images), names, work.batch_size, settings)
    here, total = work.here, len(work.images)
    with journal(work.path, request) as kept:
        on_batch(kept.done, here.stop - here.start)
        left = (work.images[index] for index in range(here.start + kept.done, here.stop))
        batches = predict_batches(predictor, left, work.batch_size, filled=total > work.batch_size)
        with contextlib.closing(batches):
            for answers in batches:
                kept.append([_row(answer, row_of) for answer in answers])
                on_batch(kept.done, here.stop - here.start)
        written = _write(work, kept, writer)
        if work.shard:
            write_facts(work.path, request, work.shard, written.rows, written.bad)
    return written


def _row(answer, row_of):
    name = printable(answer.path)
    if answer.scores is None:
        return Row(name, None, reason=printable(answer.reason))
    values, numbers = row_of(answer)
    return Row(name, np.asarray(values, "float32"), np.asarray(numbers, "int32"), answer.known)


def _write(work, kept, writer):
    bad, rows = [], 0
    with writer(work.path) as write:
        for row in kept.rows():
            if row.values is None:
                bad.append((row.name, row.reason))
            else:
                write(row)
                rows += 1
    return Written(rows, rows + len(bad), bad)


def write_predictions(work, predictor, k, on_batch=lambda done, total: None):
    """Write the k best classes of every image, a .csv, .jsonl or .parquet as `keras_vit.prediction.table` has them.

    Args:
        work, on_batch: as `write_answers` takes them.
        predictor: a `Predictor`; of one with several labels per image, the classes that an image has, at most k.

    Returns:
        A `Written`.
    Raises:
        ValueError: naming the file, for scores that are not finite.
    """
    from keras_vit.prediction.table import table

    least = predictor.thresholds

    def row_of(answer):
        return best_classes(answer, k, least)[::-1]

    @contextlib.contextmanager
    def writer(path):
        ranked = None if predictor.multi_label else k
        with table(path, ranked, known=predictor.unknown is not None) as write:
            yield lambda row: write(
                row.name, [predictor.labels[one] for one in row.numbers], row.values, known_of(predictor, row.known)
            )

    return write_answers(work, predictor, _settings(predictor, k), row_of, writer, on_batch)


def known_of(predictor, known):
    """(score, whether the image is unknown), of a model that has such a score; else None."""
    return None if known is None else (known, bool(predictor.is_unknown(known)))


def _settings(predictor, k):
    least = predictor.thresholds
    return {"top": k, "thresholds": None if least is None else least.tolist(), "unknown": predictor.unknown}


def write_embeddings(work, embedder, model, normalize=False, on_batch=lambda done, total: None):
    """Write the vector of every image, an .npz or .parquet as `keras_vit.prediction.embeddings_file` has them.

    Args:
        work, on_batch: as `write_answers` takes them.
        embedder: an `Embedder`.
        model: what the file says of it.
        normalize: whether each vector is divided by its length.

    Returns:
        A `Written`.
    Raises:
        ValueError: naming the file, for a vector that is not finite.
    """
    from keras_vit.prediction.embedding import finite_vector
    from keras_vit.prediction.embeddings_file import embeddings_file

    @contextlib.contextmanager
    def writer(path):
        with embeddings_file(path, embedder.dim, model, normalize) as write:
            yield lambda row: write(row.name, row.values)

    settings = {"model": str(model), "normalize": normalize}
    return write_answers(
        work, embedder, settings, lambda answer: (finite_vector(answer, normalize), ()), writer, on_batch
    )
