"""Predicting in engines that divide work among machines: Ray Data, Spark, and others that call a function per batch.

    photos = ray.data.read_parquet("photos/", columns=["name", "image"])
    photos.map_batches(PredictBatches, fn_constructor_args=["runs/photos"], batch_format="pyarrow", concurrency=2)

    answers = PredictBatches("runs/photos")
    predict = predict_batch_udf(answers.make_predict_fn, return_type=DataType.fromDDL(answers.ddl), batch_size=256)
    spark.read.parquet("photos/").withColumn("found", predict("image"))

Neither engine is imported here. A row whose image cannot be read has nulls, and the column `reason` says why; the job
goes on. The numbers are those of `keras-vit predict`.
"""

import functools
import os

import numpy as np

from keras_vit.images.stored import StoredImage
from keras_vit.prediction import for_many, pickling
from keras_vit.prediction.embedding import Embedder, finite_vector
from keras_vit.prediction.many import best_classes, predict_batches
from keras_vit.prediction.predictor import Predictor

COLUMN, BATCH = "image", 32
TOP = 5  # classes per image, where it has one label
REASON = "reason"
LISTS = {"labels": "string", "scores": "float", "vector": "float"}  # columns of lists, and of what


class _Batches:
    """A function of batches that opens its model at the first, once per process, and can be pickled before and after.

    A batch is a dictionary of columns, as Ray's "numpy" format has it, or a `pyarrow.Table`. An image is a path, the
    bytes of an encoded image, a uint8 array (H, W, 3), or {"bytes": ..., "path": ...} as Hugging Face's data sets store
    it. Returned are the batch's other columns and those of the answers, in a batch of the same kind; a column of paths
    stays, while images are not copied into the output.
    """

    KIND = Predictor

    def __init__(self, source, column, batch_size):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1. Received: {batch_size}.")
        self._given = source if isinstance(source, self.KIND) else pickling.Opened.of(self.KIND.open, source)
        self.column, self.batch_size = column, batch_size

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in ("_opened", "_runs")}

    def __call__(self, batch):
        """The answers of a batch, beside its other columns.

        Raises:
            ValueError: for a batch without the column of images, or with one that is called as one of the answers'.
        """
        self._check_names(batch.column_names if _is_arrow(batch) else list(batch))
        if _is_arrow(batch):
            return self._table(batch, self._columns(batch[self.column].to_pylist()))
        images = batch[self.column]
        paths = any(isinstance(image, (str, os.PathLike)) for image in images)
        kept = {name: values for name, values in batch.items() if paths or name != self.column}
        return kept | {name: _objects(values) for name, values in self._columns(images).items()}

    def make_predict_fn(self):
        """What `pyspark.ml.functions.predict_batch_udf` calls in each worker: the function of a column's batches."""

        def predict(images):
            found = self._columns(np.atleast_1d(images))  # Spark makes a batch of one image a scalar
            if "unknown" in found:  # of which its function for batches takes no booleans
                found["unknown"] = [None if value is None else int(value) for value in found["unknown"]]
            return {name: _Rows(values) if name in LISTS else _objects(values) for name, values in found.items()}

        return predict

    @property
    def ddl(self):
        """The fields that Spark gets, as its SQL writes them; `DataType.fromDDL` makes a return type of them.

        They depend on the model, which is opened here: so what cannot be opened fails before there are tasks.
        """
        scalars = {REASON: "string", "known_score": "float", "unknown": "tinyint"}
        types = {name: f"array<{LISTS[name]}>" if name in LISTS else scalars[name] for name in self._names()}
        return ", ".join(f"{name} {kind}" for name, kind in types.items())

    @functools.cached_property
    def _opened(self):
        """The `Predictor` or `Embedder`, the same for all of this process that have the same origin."""
        return self._given if isinstance(self._given, self.KIND) else pickling.made(*self._given.packed())

    @functools.cached_property
    def _runs(self):
        """What computes."""
        return for_many.for_many(self._opened, for_many.FROM)  # as many are to come

    def _check_names(self, names):
        if self.column not in names:
            raise ValueError(
                f"The batch has no column {self.column!r}, but {', '.join(names)}. Name the images' column (column=)."
            )
        taken = [name for name in self._names() if name in names and name != self.column]
        if taken:
            raise ValueError(f"The batch has a column {taken[0]!r}, as the answers do. Rename it, or leave it out.")

    def _columns(self, images):
        """{name: list of a value per image}, None for images that cannot be read."""
        items = [_item(number, image) for number, image in enumerate(images)]
        batches = predict_batches(self._runs, items, self.batch_size, filled=True)
        rows = [self._row(answer) for answers in batches for answer in answers]
        return {name: [row.get(name) for row in rows] for name in self._names()}

    def _table(self, batch, found):
        import pyarrow as pa

        kinds = {"string": pa.string(), "float": pa.float32()}
        types = {name: pa.list_(kinds[kind]) for name, kind in LISTS.items()}
        types |= {REASON: pa.string(), "known_score": pa.float32(), "unknown": pa.bool_()}
        if not (pa.types.is_string(kind := batch[self.column].type) or pa.types.is_large_string(kind)):
            batch = batch.drop_columns([self.column])
        for name, values in found.items():
            batch = batch.append_column(name, pa.array(values, types[name]))
        return batch


class PredictBatches(_Batches):
    """Labels and scores of the images of a batch.

    Columns: `labels` and `scores`, lists of the best classes, best first, as `keras-vit predict` writes them to a
    .parquet; of a model that can tell unknown images `known_score` and `unknown` (a boolean; 1 or 0 in Spark, whose
    function for batches returns none); `reason`, why an image cannot be read, else null.

    Args:
        predictor: what `Predictor.open` takes, without options; or a `Predictor`, which `open` returned.
        column: of the images.
        top: classes per image, at most; by default 5, or all that an image has where it may have several labels.
        batch_size: images that the model takes at once. While it runs, the next ones of the engine's batch are decoded:
            the engine's should be some times as large.

    Raises:
        ValueError: when the model is opened, if it cannot be.
    """

    def __init__(self, predictor, column=COLUMN, top=None, batch_size=BATCH):
        super().__init__(predictor, column, batch_size)
        if top is not None and top < 1:
            raise ValueError(f"top must be at least 1. Received: {top}.")
        self.top = top

    def _names(self):
        return "labels", "scores", *(("known_score", "unknown") if self._opened.unknown else ()), REASON

    def _row(self, answer):
        if answer.scores is None:
            return {REASON: answer.reason}
        predictor = self._opened
        top = self.top or (len(predictor.labels) if predictor.multi_label else TOP)
        best, scores = best_classes(answer, min(top, predictor.top_k or top), predictor.thresholds)
        row = {"labels": [str(predictor.labels[one]) for one in best], "scores": scores.tolist()}
        if answer.known is not None:
            row |= {"known_score": answer.known, "unknown": bool(predictor.is_unknown(answer.known))}
        return row


class EmbedBatches(_Batches):
    """Vectors of the images of a batch.

    Columns: `vector`, a list of D numbers; `reason`, why an image cannot be read, else null.

    Args:
        embedder: what `Embedder.open` takes, without options; or an `Embedder`.
        column, batch_size: as `PredictBatches` has them.
        normalize: whether each vector is divided by its length.
    """

    KIND = Embedder

    def __init__(self, embedder, column=COLUMN, batch_size=BATCH, normalize=False):
        super().__init__(embedder, column, batch_size)
        self.normalize = normalize

    def _names(self):
        return "vector", REASON

    def _row(self, answer):
        if answer.scores is None:
            return {REASON: answer.reason}
        return {"vector": finite_vector(answer, self.normalize)}


class _Rows(list):
    """Rows of a column of lists, each of any length or None, for Spark.

    It asks such a column for a shape of two axes, of which it then makes a list of rows; of an array, rows of one
    length would be left, and no nulls.
    """

    @property
    def shape(self):
        return len(self), None


def _item(number, image):
    """What `predict_batches` takes for an image of a batch."""
    if isinstance(image, dict):  # of Hugging Face's data sets
        image = image.get("path") if image.get("bytes") is None else image["bytes"]
    if image is None:
        return StoredImage(f"image {number} of the batch", _no_image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return StoredImage(f"image {number} of the batch", lambda: bytes(image))
    return image


def _no_image():
    raise ValueError("there is none: the column has a null")


def _is_arrow(batch):
    return hasattr(batch, "column_names")


def _objects(values):
    """A column of objects; NumPy alone would make a second axis of lists."""
    column = np.empty(len(values), object)
    column[:] = values
    return column
