"""Files of predictions or neighbours, a row per image, written as they are found.

.csv      path,label_1,score_1,label_2,score_2,...: the k best classes, best first
.jsonl    a line per image: {"path": "a.jpg", "labels": ["cat", "dog"], "scores": [0.9, 0.1]}
.parquet  the columns path (string), labels (list of strings) and scores (list of float32); it needs pyarrow

Of a model with several labels per image, a row has the classes that the image has, maybe none, and a .csv joins them:
path,labels,scores with a|b and 0.9|0.8. Of a model that can tell unknown images, there are also known_score, and
unknown, which is true or false.

Of neighbours, the names of their images stand in place of labels, in columns called neighbour_1 or neighbours. Scores
have as many digits as their float32 needs. Bytes of a path that are not UTF-8 are shown as `printable` does.
"""

import contextlib
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.images.manifest import BETWEEN
from keras_vit.prediction import output_file
from keras_vit.prediction.many import printable
from keras_vit.prediction.output_file import ROW_GROUP
from keras_vit.system.files import atomic_file

KNOWN = ("known_score", "unknown")


def check_table(path):
    """What would otherwise fail after the work is done, as `output_file.check` raises it."""
    output_file.check(path, WRITERS, "Tables of results")


@dataclass(frozen=True)
class Columns:
    """What a row has."""

    k: int | None  # how many labels with their scores; None: any number, as the image has
    what: str = "label"  # or "neighbour"
    known: bool = False  # whether there are known_score and unknown

    def row(self, path, labels, scores, known):
        """A row as a dictionary; `known` is (score, whether the image is unknown), or None."""
        extra = dict(zip(KNOWN, (np.float32(known[0]), bool(known[1])))) if self.known else {}
        return {"path": path, f"{self.what}s": labels, "scores": scores, **extra}


@contextlib.contextmanager
def table(path, k, what="label", known=False):
    """Yield the function that adds a row: (path, labels, scores), of the k best classes, best first.

    Args:
        path: of the file.
        k: how many there are in a row; None for as many as an image has.
        what: "label" or "neighbour".
        known: whether rows have a fourth part, (score, whether the image is unknown).

    The file appears when all rows are there; an error or an interrupt leaves none, and an older one as it was.
    """
    check_table(path)
    with atomic_file(path) as temporary:
        columns = Columns(k, what, known)
        with WRITERS[Path(path).suffix.lower()](temporary, columns) as write:
            yield lambda image, labels, scores, known=None: write(
                columns.row(printable(image), [str(label) for label in labels], np.asarray(scores, "float32"), known)
            )


@contextlib.contextmanager
def _csv(file, columns):
    several = columns.k is None
    ranked = [f"{name}_{rank}" for rank in range(1, (columns.k or 0) + 1) for name in (columns.what, "score")]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        middle = [f"{columns.what}s", "scores"] if several else ranked
        writer.writerow(["path", *middle, *(KNOWN if columns.known else ())])

        def write(row):
            path, labels, scores, *known = row.values()
            scores = list(map(str, scores))
            cells = (
                map(BETWEEN.join, (labels, scores)) if several else (x for pair in zip(labels, scores) for x in pair)
            )
            writer.writerow([path, *cells, *(str(value).lower() for value in known)])

        yield write


@contextlib.contextmanager
def _jsonl(file, columns):
    with file.open("w", encoding="utf-8") as stream:

        def write(row):
            row["scores"] = [float(str(score)) for score in row["scores"]]
            if columns.known:
                row["known_score"] = float(str(row["known_score"]))
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")

        yield write


@contextlib.contextmanager
def _parquet(file, columns):
    pa = output_file.import_pyarrow(WRITERS)
    names = ("path", f"{columns.what}s", "scores", *(KNOWN if columns.known else ()))
    types = (pa.string(), pa.list_(pa.string()), pa.list_(pa.float32()), pa.float32(), pa.bool_())
    schema = pa.schema(list(zip(names, types)))
    rows = []
    with pa.parquet.ParquetWriter(str(file), schema) as writer:

        def flush():
            writer.write_table(pa.table([list(column) for column in zip(*rows)], schema=schema))
            rows.clear()

        def write(row):
            rows.append(tuple(row.values()))
            if len(rows) == ROW_GROUP:
                flush()

        yield write
        if rows:
            flush()


WRITERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
