"""Proof that an artifact answers as the Keras model does, on the same pictures, in a process without this library.

`expect` asks the Keras model (in float32); `replay_all` asks the artifacts; then they are compared and judged:

    SavedModel      largest difference of probabilities at most 1e-5; of features too, relative to the largest of them
    .tflite         `budget` says, by quantisation
Without pictures, seeded noise is used.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.export.features import features as features_of
from keras_vit.export.graph import probabilities

SAVED_MODEL = 1e-5  # largest difference of probabilities
NOISE = 16  # pictures
BATCH = 32


@dataclass(frozen=True)
class Expected:
    """Pictures, and what the Keras model says about them."""

    files: tuple[str, ...]  # N encoded pictures
    kind: str  # "held-out", "given" or "noise"
    classes: np.ndarray | None  # N true classes, where known
    images: np.ndarray  # uint8, N H W 3, resized
    probabilities: np.ndarray  # float32, N K


def expect(source, pictures=(), max_images=1000, folder=None):
    """Ask the Keras model about pictures: those given, else the source's held-out ones, else noise.

    Args:
        pictures: (path, number of the class or None) pairs.
        max_images: of more pictures than this, every so-manieth is taken.
        folder: where noise pictures are written; needed where there are no others.
    Raises: ValueError naming a picture that is none, OSError for a file that cannot be opened.
    """
    if max_images < 1:
        raise ValueError(f"At least one picture is needed to compare on. Received: max_images={max_images}.")
    kind = "given" if pictures else "held-out"
    pictures = list(pictures or source.pictures)
    if not pictures:
        kind, pictures = "noise", noise_pictures(folder)
    if len(pictures) > max_images:
        pictures = [pictures[i] for i in np.linspace(0, len(pictures) - 1, max_images).astype(int)]
    files = tuple(os.path.abspath(path) for path, _ in pictures)
    known = all(label is not None for _, label in pictures)
    classes = np.array([label for _, label in pictures]) if known else None
    images = np.stack([read_picture(path, Path(path).read_bytes(), source.spec) for path in files])
    return Expected(files, kind, classes, images, _predict(images, probabilities(source)))


def noise_pictures(folder, number=NOISE, seed=0):
    """Write seeded pictures, rough and smooth, in several sizes, JPEG and PNG; (path, None) pairs."""
    from PIL import Image

    draw, pictures = np.random.default_rng(seed), []
    for i in range(number):
        grid = 2 ** (1 + i % 6)  # 2 to 64 cells a side
        cells = Image.fromarray(draw.integers(0, 256, (grid, grid, 3), dtype=np.uint8))
        image = cells.resize((int(draw.integers(40, 320)), int(draw.integers(40, 320))), Image.Resampling.BICUBIC)
        path = Path(folder, f"noise_{i:02}.{('png', 'jpg')[i % 2]}")
        image.save(path)
        pictures.append((path, None))
    return pictures


def check_saved_model(answers, expected, source):
    """The report of a SavedModel, from its answers (`replay_all`).

    Raises: ValueError with the figures if it does not answer as the Keras model does.
    """
    served = np.take_along_axis(expected.probabilities, np.maximum(answers["class_ids"], 0), axis=1)
    report = {
        **compare(expected, answers["probabilities"]),
        "largest_difference_from_bytes": float(np.abs(answers["scores"] - served).max()),
        "tolerance": SAVED_MODEL,
        "versions": versions(),
    }
    names = np.array(source.labels)[answers["class_ids"]]
    undecoded = [file for file, ids in zip(expected.files, answers["class_ids"]) if ids[0] < 0]
    if undecoded or (names != answers["classes"]).any():
        raise ValueError(
            f"The SavedModel gives wrong names or decodes less than the Keras model's reader: {undecoded}."
        )
    if "embedding" in answers:
        report["largest_difference_of_features"] = _difference_of_features(answers["embedding"], expected, source)
    if not max(value for key, value in report.items() if key.startswith("largest_difference")) <= SAVED_MODEL:
        raise ValueError(
            f"The SavedModel does not answer as the Keras model does, and is not kept. {describe(report)}."
        )
    return report


def compare(expected, answered):
    """Accuracy of both (where the classes are known), agreement and differences of two sets of probabilities."""
    best, reference = best_classes(answered), best_classes(expected.probabilities)
    report = {"n_images": len(answered), "pictures": expected.kind}
    if expected.classes is not None:
        report["keras_accuracy"] = float((reference == expected.classes).mean())
        report["accuracy"] = float((best == expected.classes).mean())
    report["agreement"] = float((best == reference).mean())
    report["largest_difference"] = float(np.abs(answered - expected.probabilities).max())
    report["cosine"] = float(_cosine_of_logits(answered, expected.probabilities).min())
    return report


def describe(report):
    """A report in one line."""
    parts = [f"{report['n_images']} {report['pictures']} pictures"]
    if "accuracy" in report:
        parts.append(f"accuracy {report['accuracy']:.4f} (Keras {report['keras_accuracy']:.4f})")
    parts.append(f"agreement {100 * report['agreement']:.2f} %")
    difference = max(value for key, value in report.items() if key.startswith("largest_difference"))
    limit = f" (at most {report['tolerance']:.0e})" if "tolerance" in report else ""
    parts.append(f"largest difference {difference:.1e}{limit}")
    return ", ".join(parts)


def replay_all(artifacts, expected, runs=0, threads=None):
    """Run artifacts in one process that cannot import Keras or this library, on the CPU.

    Args:
        artifacts: ("saved_model" or "tflite", path) pairs.
        runs: timed runs at batch 1, for latency.
        threads: for TensorFlow and LiteRT; default one per core.
    Returns: per artifact a dictionary of arrays (`replay`).
    Raises: ValueError with the process's last words if an artifact cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        images, request = Path(folder, "images.npy"), Path(folder, "request.json")
        np.save(images, expected.images)
        answers = [str(Path(folder, f"{number}.npz")) for number in range(len(artifacts))]
        entries = [
            {"kind": kind, "path": str(path), "answers": answer} for (kind, path), answer in zip(artifacts, answers)
        ]
        request.write_text(
            json.dumps(
                {
                    "artifacts": entries,
                    "files": list(expected.files),
                    "images": str(images),
                    "threads": threads or cores(),
                    "runs": runs,
                }
            )
        )
        script = Path(__file__).with_name("replay.py")
        run_python(
            ["-P", str(script), str(request)],
            f"{', '.join(str(path) for _, path in artifacts)} could not be run",
        )
        return [dict(np.load(answer)) for answer in answers]


def run_python(arguments, failure):
    """Run this Python in a process of its own, on the CPU and quietly; a failure is a ValueError with its last line."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ValueError(f"{failure}: {lines[-1]}")


def on_cpu():
    """Keep this process off the GPUs, if TensorFlow has not started on them: exporting needs none."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def cores():
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def versions():
    """Of what took part, for reports."""
    from importlib import metadata

    present = {}
    for package in ("keras-vit-models", "tensorflow", "keras", "ai-edge-litert", "litert-quantizer", "numpy"):
        try:
            present[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            present[package] = None
    return present


def read_picture(name, encoded, spec):
    """An encoded picture, decoded and resized: uint8 (H, W, 3). ValueError with its name if it is none."""
    import tensorflow as tf

    from keras_vit.preprocessing import decode_image, resize

    try:
        with tf.device("CPU:0"):
            return resize(decode_image(encoded), spec).numpy().astype(np.uint8)
    except tf.errors.OpError as error:
        reason = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", error.message).strip()
        raise ValueError(f"{name} cannot be read as a picture: {reason}") from error


def _difference_of_features(answered, expected, source):
    """Largest difference of features from the Keras model's, as a share of the largest of those."""
    features = _predict(expected.images, features_of(source))
    return float(np.abs(answered - features).max() / max(np.abs(features).max(), 1.0))


def _predict(images, function):
    """What the function of images gives, as a graph, with full float32 products on GPUs too."""
    import tensorflow as tf

    kept = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        predict = tf.function(function, reduce_retracing=True)
        starts = range(0, len(images), BATCH)
        batches = [predict(tf.constant(images[start : start + BATCH], tf.float32)).numpy() for start in starts]
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(kept)
    return np.concatenate(batches)


def best_classes(probabilities):
    """The most probable class of each picture, int64 (N,); of a single class, 1 if it is less probable than not."""
    return _distributions(probabilities).argmax(-1)


def logits(probabilities):
    """Known up to a constant per picture: log-probabilities with their mean taken off, float64 (N, K or 2)."""
    found = np.log(np.maximum(_distributions(probabilities).astype(np.float64), 1e-12))
    return found - found.mean(-1, keepdims=True)


def _distributions(probabilities):
    """Of a single class, with what is not that class as a second one."""
    return np.concatenate([probabilities, 1 - probabilities], -1) if probabilities.shape[-1] == 1 else probabilities


def _cosine_of_logits(one, other):
    """Per picture."""
    one, other = logits(one), logits(other)
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return np.where(lengths == 0, 1.0, (one * other).sum(-1) / np.maximum(lengths, 1e-30))  # NaN stays NaN
