"""A trained model and its artifacts side by side: accuracy on the same images, or cosine of features; size, latency."""

import csv
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from keras_vit.export.model.inference import outputs as outputs_of
from keras_vit.export.parity import feature_figures, parity
from keras_vit.prediction.runtimes import checked_interpreter
from keras_vit.sources.resolve import is_saved_model, version_folder
from keras_vit.system.files import atomic_file, scratch_folder

RUNS = 50  # timed, at batch 1
CLASSES, FEATURES = ("accuracy", "agreement", "max diff"), ("cosine", "smallest", "difference / std")


@dataclass(frozen=True)
class Row:
    """One model or artifact."""

    artifact: str
    n_images: int
    accuracy: float | None  # None where the classes are not known
    agreement: float  # with the Keras model's best class
    largest_difference: float  # of probabilities, from the Keras model's
    size_mb: float  # 1 MB = 10^6 bytes
    latency_ms: float  # median of single images, already of the model's size
    threads: int


@dataclass(frozen=True)
class FeatureRow:
    """One model without a classifier, or its artifact; of several outputs the worst."""

    artifact: str
    n_images: int
    mean_cosine: float  # of an image's features with the Keras model's
    smallest_cosine: float
    relative_difference: float  # the largest, of the standard deviation of the Keras model's
    size_mb: float  # 1 MB = 10^6 bytes
    latency_ms: float  # median of single images, already of the model's size
    threads: int


def compare(source, artifacts, expected, runs=RUNS):
    """The rows of the Keras model and of each artifact, a `Row` each, or of features a `FeatureRow`.

    Args:
        source: an `ExportedModel`.
        artifacts: (kind, path) pairs, as `find_artifacts` returns them.
        expected: `parity.Expected`, the Keras model's outputs, or `ExpectedFeatures`.
        runs: timed runs per row.

    Raises:
        ValueError: if an artifact cannot be run, or has another number of classes or other features.
    """
    own = expected.features if source.features else {"probabilities": expected.probabilities}
    row = _feature_row if source.features else _row
    rows = [row("Keras", expected, own, keras_bytes(source), keras_latency(source, expected, runs))]
    for (kind, path), outputs in zip(artifacts, parity.replay_all(artifacts, expected, runs)):
        if source.features:
            feature_figures.check_shapes(path, expected, outputs)
        else:
            _check_classes(path, source, expected, outputs)
        name = path.name if kind == "tflite" else "SavedModel"
        milliseconds = float(np.median(outputs["milliseconds"]))
        rows.append(row(name, expected, outputs, size_bytes(path), milliseconds))
    return rows


def _check_classes(path, source, expected, outputs):
    """Raise a ValueError for an artifact that gives features, or other classes."""
    if "probabilities" not in outputs:
        raise ValueError(
            f"{path} gives features, not classes. Add --no-top, --maps or --blocks, whichever it was made with."
        )
    if outputs["probabilities"].shape != expected.probabilities.shape:
        raise ValueError(
            f"{path} has {outputs['probabilities'].shape[1]} classes, but the model has {len(source.labels)}: "
            "it was made from another model."
        )


def find_artifacts(paths, name, size=None):
    """(kind, path) of every artifact at the paths: a .tflite file, a SavedModel, or a folder of them.

    In a serving bundle the newest version of the model called `name` is taken, or of its only model.

    Args:
        paths: of the artifacts.
        name: of the model.
        size: (H, W) in pixels of the model's images, which all artifacts must take; of a folder with .tflite files of
            several sizes, those of this size are taken.

    Raises:
        ValueError: for a path without an artifact, for a bundle of several models with other names, and for artifacts
            of another size only.
    """
    found = []
    for path in map(Path, paths):
        files = [path] if path.suffix == ".tflite" and path.is_file() else sorted(path.glob("*.tflite"))
        if files:
            found.extend(("tflite", file) for file in _of_size(files, path, size))
        elif is_saved_model(path):
            found.append(("saved_model", version_folder(path, name)))
        else:
            raise ValueError(f"{path}: expected a .tflite file, a SavedModel, or a folder of them.")
    return found


def _of_size(files, path, size):
    """The .tflite files for images of a size (H, W), of at least one at `path`; all of them if it is None."""
    if size is None:
        return files
    sizes = {file: tuple(map(int, checked_interpreter(file).get_input_details()[0]["shape"][1:3])) for file in files}
    taken = [file for file in files if sizes[file] == tuple(size)]
    if not taken:
        others = ", ".join(dict.fromkeys(f"{height}x{width}" for height, width in sizes.values()))
        raise ValueError(
            f"{path} is for images of another size than the model's, {size[0]}x{size[1]}: {others} (height x width). "
            "Add that as --img-size, or name files of the model's size."
        )
    return taken


def keras_latency(source, expected, runs):
    """Median milliseconds of the Keras model for one image, as a TensorFlow graph."""
    import tensorflow as tf

    predict, image = tf.function(outputs_of(source), autograph=False), tf.constant(expected.images[:1], tf.float32)
    milliseconds = []
    for number in range(5 + runs):
        start = time.perf_counter()
        [values.numpy() for values in predict(image).values()]
        milliseconds.append(1000 * (time.perf_counter() - start))
    return float(np.median(milliseconds[5:]))


def keras_bytes(source):
    """Size of the model as a `.keras` file."""
    with scratch_folder() as folder:
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
    compared = FEATURES if isinstance(rows[0], FeatureRow) else CLASSES
    head = ("", "images", *compared, "size MB", "ms/image")
    body = [
        (row.artifact, str(row.n_images), *_compared(row), f"{row.size_mb:.2f}", f"{row.latency_ms:.2f}")
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


def _compared(row):
    """The cells of a row on how near it is to the Keras model."""
    if isinstance(row, FeatureRow):
        return f"{row.mean_cosine:.5f}", f"{row.smallest_cosine:.5f}", f"{row.relative_difference:.1e}"
    return (
        "-" if row.accuracy is None else f"{100 * row.accuracy:.2f} %",
        f"{100 * row.agreement:.2f} %",
        f"{row.largest_difference:.1e}",
    )


def write_csv(rows, path):
    """Write the rows as a CSV file, completely or not at all."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(rows[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _row(name, expected, outputs, size, milliseconds):
    report = parity.compare(expected, outputs["probabilities"])
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


def _feature_row(name, expected, outputs, size, milliseconds):
    found = feature_figures.figures(expected, outputs)
    figures = found["mean_cosine"], found["cosine"], found["relative_difference"]
    return FeatureRow(name, found["n_images"], *figures, size / 1e6, milliseconds, parity.cores())
