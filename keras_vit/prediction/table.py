"""Files of predictions or neighbours, a row per image, written as they are found.

.csv      path,label_1,score_1,label_2,score_2,...: the k best classes, best first
.jsonl    a line per image: {"path": "a.jpg", "labels": ["cat", "dog"], "scores": [0.9, 0.1]}
.parquet  the columns path (string), labels (list of strings) and scores (list of float32); it needs pyarrow

Of neighbours, the names of their images stand in place of labels, in columns called neighbour_1 or neighbours. Scores
have as many digits as their float32 needs. Bytes of a path that are not UTF-8 are shown as `printable` does.
"""

import contextlib
import csv
import json
from pathlib import Path

import numpy as np

from keras_vit.prediction import output_file
from keras_vit.prediction.many import printable
from keras_vit.prediction.output_file import ROW_GROUP
from keras_vit.system.files import atomic_file


def check_table(path):
    """What would otherwise fail after the work is done, as `output_file.check` raises it."""
    output_file.check(path, WRITERS, "Tables of results")


@contextlib.contextmanager
def table(path, k, what="label"):
    """Yield the function that adds a row: (path, labels, scores), of the k best classes, best first.

    Args:
        path: of the file.
        k: how many there are in a row.
        what: "label" or "neighbour".

    The file appears when all rows are there; an error or an interrupt leaves none, and an older one as it was.
    """
    check_table(path)
    with atomic_file(path) as temporary:
        with WRITERS[Path(path).suffix.lower()](temporary, k, what) as write:
            yield lambda image, labels, scores: write(
                printable(image), [str(label) for label in labels], np.asarray(scores, "float32")
            )


@contextlib.contextmanager
def _csv(file, k, what):
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", *(f"{name}_{rank}" for rank in range(1, k + 1) for name in (what, "score"))])
        yield lambda path, labels, scores: writer.writerow(
            [path, *(cell for pair in zip(labels, map(str, scores)) for cell in pair)]
        )


@contextlib.contextmanager
def _jsonl(file, k, what):
    with file.open("w", encoding="utf-8") as stream:

        def write(path, labels, scores):
            row = {"path": path, f"{what}s": labels, "scores": [float(str(score)) for score in scores]}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")

        yield write


@contextlib.contextmanager
def _parquet(file, k, what):
    pa = output_file.import_pyarrow(WRITERS)
    schema = pa.schema([("path", pa.string()), (f"{what}s", pa.list_(pa.string())), ("scores", pa.list_(pa.float32()))])
    rows = []
    with pa.parquet.ParquetWriter(str(file), schema) as writer:

        def flush():
            writer.write_table(pa.table([list(column) for column in zip(*rows)], schema=schema))
            rows.clear()

        def write(path, labels, scores):
            rows.append((path, labels, scores))
            if len(rows) == ROW_GROUP:
                flush()

        yield write
        if rows:
            flush()


WRITERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
