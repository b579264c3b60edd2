"""A trained model and its artifacts side by side: accuracy on the same pictures, size, latency."""

import csv
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from keras_vit.artifacts import is_saved_model, version_folder
from keras_vit.export import parity
from keras_vit.export.graph import probabilities
from keras_vit.files import atomic_file

RUNS = 50  # timed, at batch 1


@dataclass(frozen=True)
class Row:
    """One model or artifact."""

    artifact: str
    n_images: int
    accuracy: float | None  # None where the classes are not known
    agreement: float  # with the Keras model's best class
    largest_difference: float  # of probabilities, from the Keras model's
    size_mb: float  # 1 MB = 10^6 bytes
    latency_ms: float  # median of single pictures, already of the model's size
    threads: int


def compare(source, artifacts, expected, runs=RUNS):
    """The rows of the Keras model and of each artifact.

    Args:
        source: a `Source`.
        artifacts: (kind, path) pairs, as `find_artifacts` gives them.
        expected: `parity.Expected`, the Keras model's answers.
        runs: timed runs per row.
    """
    rows = [
        _row(
            "Keras",
            expected,
            expected.probabilities,
            keras_bytes(source),
            keras_latency(source, expected, runs),
        )
    ]
    for (kind, path), answers in zip(artifacts, parity.replay_all(artifacts, expected, runs)):
        if answers["probabilities"].shape != expected.probabilities.shape:
            raise ValueError(
                f"{path} has {answers['probabilities'].shape[1]} classes, and the model {len(source.labels)}: "
                "it was made from another model."
            )
        name = path.name if kind == "tflite" else "SavedModel"
        milliseconds = float(np.median(answers["milliseconds"]))
        rows.append(_row(name, expected, answers["probabilities"], size_bytes(path), milliseconds))
    return rows


def find_artifacts(paths, name):
    """(kind, path) of every artifact that paths mean: a .tflite file, a SavedModel, or a folder holding some.

    In a serving bundle the newest version of the model called `name` is taken, or of the only model there is.
    """
    found = []
    for path in map(Path, paths):
        files = [path] if path.suffix == ".tflite" and path.is_file() else sorted(path.glob("*.tflite"))
        if files:
            found.extend(("tflite", file) for file in files)
        elif is_saved_model(path):
            found.append(("saved_model", version_folder(path, name)))
        else:
            raise ValueError(f"{path}: expected a .tflite file, a SavedModel, or a folder of them.")
    return found


def keras_latency(source, expected, runs):
    """Median milliseconds of the Keras model for one picture, as a TensorFlow graph."""
    import tensorflow as tf

    predict, image = tf.function(probabilities(source)), tf.constant(expected.images[:1], tf.float32)
    milliseconds = []
    for number in range(5 + runs):
        start = time.perf_counter()
        predict(image).numpy()
        milliseconds.append(1000 * (time.perf_counter() - start))
    return float(np.median(milliseconds[5:]))


def keras_bytes(source):
    """Size of the model as a `.keras` file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        source.model.save(path)
        return path.stat().st_size


def size_bytes(path):
    """Size of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())


def as_table(rows):
    """The rows as lines of text, in columns."""
    head = ("", "images", "accuracy", "agreement", "max diff", "size MB", "ms/image")
    body = [
        (
            row.artifact,
            str(row.n_images),
            "-" if row.accuracy is None else f"{100 * row.accuracy:.2f} %",
            f"{100 * row.agreement:.2f} %",
            f"{row.largest_difference:.1e}",
            f"{row.size_mb:.2f}",
            f"{row.latency_ms:.2f}",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *body)]
    return "\n".join(
        "  ".join(
            [
                line[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:])),
            ]
        )
        for line in (head, *body)
    )


def write_csv(rows, path):
    """The rows as a CSV file, whole or not at all."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _row(name, expected, answered, size, milliseconds):
    report = parity.compare(expected, answered)
    return Row(
        name,
        report["n_images"],
        report.get("accuracy"),
        report["agreement"],
        report["largest_difference"],
        size / 1e6,
        milliseconds,
        parity.cores(),
    )
