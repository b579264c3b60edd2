"""The check that an artifact gives what the Keras model gives, on the same images, in a process without this library.

`expect` runs the user's model as `Predictor` does: the model as it was loaded, on files that Pillow decodes; nothing of
it is the exporter's. `replay_all` runs the artifacts; an artifact is rejected if the outputs differ:

    SavedModel   largest difference of probabilities at most 1e-5; of features and maps too, relative to the largest
    .tflite      by quantization (`edge.tolerance`)

Of models without a classifier, `features` and `feature_figures` say what is expected and how far it may be.

A model in half precision rounds more coarsely than that: its float32 copy is the reference, once the copy has been held
to the model (HALF). Without images, seeded noise is used. Where the classes of the images are known, an accuracy that
shows that the model is fed the wrong values is an error (`prediction.doubts`): no artifact of it is right.

Of several labels per image, the classes of an image are those whose probabilities reach their thresholds; it counts as
right, or as agreed on, if all K decisions are.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.export.model.features import signatures_of_images
from keras_vit.export.parity import feature_figures
from keras_vit.export.parity.images import images_to_compare_on
from keras_vit.export.parity.outputs import (
    cosine_of_logits,
    difference_from_bytes,
    given_classes,
    known_from_bytes,
    relative,
    share,
)
from keras_vit.export.parity.replay import twice
from keras_vit.models.blocks import blocks
from keras_vit.prediction import tflite_interpreter
from keras_vit.prediction.doubts import better_input_values, doubts
from keras_vit.prediction.features import without_head
from keras_vit.prediction.predictor import keras_predictor
from keras_vit.system import startup
from keras_vit.system.files import refuse_pattern, scratch_folder

SAVED_MODEL = 1e-5  # largest difference of probabilities
HALF = 0.1  # the same, on average over the images, between a model in half precision and its float32 copy
BATCH = 32


@dataclass(frozen=True)
class Expected:
    """Images, and the Keras model's outputs for them."""

    files: tuple[str, ...]  # N encoded images
    kind: str  # "test" (a run's test split), "given" or "noise"
    classes: np.ndarray | None  # N true classes, where known; of several labels per image bool (N, K)
    images: np.ndarray  # uint8, N H W 3, resized
    probabilities: np.ndarray  # float32, N K
    warnings: tuple[str, ...] = ()  # what makes the accuracy suspicious
    thresholds: np.ndarray | None = None  # float32 (K,), where there are several labels
    known: np.ndarray | None = None  # float32 (N,), the scores by which the images are known, where the model has one


def expect(source, images=(), max_images=1000, folder=None):
    """Run the Keras model on images: those given, else the test images of its run, else noise.

    Args:
        source: an `ExportedModel`.
        images: (path, class number or None) pairs.
        max_images: of more images, this many are picked evenly.
        folder: where noise images are written; required if there are no others.

    Returns:
        The images and outputs, `Expected`.

    Raises:
        OSError: for a file that cannot be opened.
        ValueError: for a file that is not an image, naming it, for lost test images, and for max_images below 1; for
            known classes, if the model is clearly better when it is fed other input values, and nobody said that it
            takes these.
    """
    kind, images = images_to_compare_on(source, images, max_images, folder)
    files = tuple(os.path.abspath(path) for path, _ in images)
    known = all(label is not None for _, label in images)
    classes = _classes([label for _, label in images], source) if known else None
    predictor = reference(source)
    images = np.stack([predictor.prepare(path).astype(np.uint8) for path in files])
    probabilities, scores = _predict(predictor, images)
    if source.loaded is not None and source.loaded is not source.model:
        probabilities, scores = _of_float32_copy(source, images, probabilities)
    warnings = () if classes is None else _doubts(source, predictor, kind, classes, images, probabilities)
    return Expected(files, kind, classes, images, probabilities, warnings, predictor.thresholds, scores)


def _classes(labels, source):
    """The classes of images as an array: numbers (N,), or, of several labels, bool (N, K)."""
    if not source.answers.multi_label:
        return np.array(labels)
    found = np.zeros((len(labels), len(source.labels)), bool)
    for row, numbers in zip(found, labels):
        row[list(np.atleast_1d(np.array(numbers, int)))] = True
    return found


def reference(source):
    """The `Predictor` of an `ExportedModel` as it was loaded."""
    model = source.model if source.loaded is None else source.loaded
    how = (source.input_values, source.answers)
    return keras_predictor("keras model", source.name, model, source.spec, source.labels, None, *how)


def _of_float32_copy(source, images, half):
    """The outputs of the model's float32 copy; ValueError if they are not what the model gives, up to rounding."""
    copy = dataclasses.replace(source, loaded=None)
    probabilities, known = _predict(reference(copy), images)
    difference = float(np.abs(probabilities - half).max(-1).mean())
    if not difference <= HALF:
        raise ValueError(
            f"{source.name}: its copy in float32, which is exported, does not give what the model gives: the largest "
            f"difference of an image's probabilities is {difference:.1e} on average (at most {HALF:.0e})."
        )
    return probabilities, known


def _doubts(source, predictor, kind, classes, images, probabilities):
    """What makes the accuracy suspicious, in words.

    Raises:
        ValueError: if the model is better when it is fed other values, unless the user said which it takes.
    """
    best = given_classes(probabilities, predictor.thresholds)
    better = better_input_values(predictor, classes, best, lambda number: images[number].astype(np.float32))
    if better and not source.asked:
        raise ValueError(f"{source.name} does not take {better.own_values} values, it seems: {better}.")
    recorded = source.accuracy if kind == "test" else None
    return (*doubts(predictor, classes, best, recorded), *([str(better)] if better else []))


def check_saved_model(outputs, expected, source):
    """The report of a SavedModel, from its outputs (`replay_all`).

    The graph refuses files that it does not see as Pillow does; it is compared on the others, and the report has their
    names.

    Raises:
        ValueError: if they differ from the Keras model's, with the figures; if all files are refused.
    """
    class_ids, taken = outputs["class_ids"], outputs.get("decoded", outputs["class_ids"][:, 0] >= 0)
    refused = [Path(file).name for file, ok in zip(expected.files, taken) if not ok]
    if not taken.any():
        raise ValueError(f"The SavedModel cannot decode any of the {len(refused)} images: {_some(refused)}.")
    report = {
        **compare(expected, outputs["probabilities"], outputs.get("known_score")),
        "largest_difference_from_bytes": difference_from_bytes(outputs, expected, taken),
        **({"refused": refused} if refused else {}),
        **known_from_bytes(outputs, expected, taken, source.answers),
        "tolerance": SAVED_MODEL,
        "versions": versions(),
    }
    wrong = (np.array([*source.labels, ""])[class_ids] != outputs["classes"]).any(-1)
    if wrong.any():
        raise ValueError(
            f"The SavedModel gives wrong names, not those of labels.txt, for {expected.files[wrong.argmax()]} first."
        )
    if "embedding" in outputs:
        embedding, images = outputs["embedding"][taken], expected.images[taken]
        report["largest_difference_of_features"] = _difference_of_features(embedding, images, source)
    if any("_of_images." in name for name in outputs):
        report["largest_difference_at_another_size"] = _difference_at_another_size(outputs, expected, source)
    if not max(value for key, value in report.items() if key.startswith("largest_difference")) <= SAVED_MODEL:
        raise ValueError(
            f"The SavedModel's outputs differ from the Keras model's, so it is not kept. {describe(report)}."
        )
    return report


def compare(expected, probabilities, known=None):
    """Accuracy of both (where the classes are known), agreement and differences of an artifact and the Keras model.

    Args:
        expected, probabilities: `Expected`, and those of the artifact (N, K).
        known: (N,), its scores of known images, where it has them.
    """
    best, reference = (given_classes(one, expected.thresholds) for one in (probabilities, expected.probabilities))
    report = {"n_images": len(probabilities), "pictures": expected.kind}
    if expected.classes is not None:
        report["keras_accuracy"] = share(reference, expected.classes)
        report["accuracy"] = share(best, expected.classes)
    report["agreement"] = share(best, reference)
    report["largest_difference"] = float(np.abs(probabilities - expected.probabilities).max())
    report["cosine"] = float(cosine_of_logits(probabilities, expected.probabilities, expected.thresholds).min())
    if known is not None and expected.known is not None:
        report["largest_difference_of_known_scores"] = relative(known, expected.known)
    if expected.warnings:
        report["warnings"] = list(expected.warnings)
    return report


def describe(report):
    """A report in one line."""
    of_features = "features" in report
    parts = [feature_figures.describe(report, report["limits"])] if of_features else _of_classes(report)
    refused = report.get("refused", ())
    if refused:
        kind = "is of a kind" if len(refused) == 1 else "are of kinds"
        parts.append(
            f"{len(refused)} of {report['n_images']} images {kind} that the served graph refuses: {_some(refused)}"
        )
    return "; ".join([", ".join(parts), *(f"WARNING: {warning}" for warning in report.get("warnings", ()))])


def _of_classes(report):
    """The figures of a report on probabilities, in words."""
    parts = [f"{report['n_images']} {report['pictures']} images"]
    if "accuracy" in report:
        parts.append(f"accuracy {report['accuracy']:.4f} (Keras {report['keras_accuracy']:.4f})")
    parts.append(f"agreement {100 * report['agreement']:.2f} %")
    difference = max(value for key, value in report.items() if key.startswith("largest_difference"))
    limit = f" (at most {report['tolerance']:.0e})" if "tolerance" in report else ""
    return [*parts, f"largest difference {difference:.1e}{limit}"]


def _some(names):
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


def replay_all(artifacts, expected, runs=0, threads=None):
    """Run artifacts in one process that cannot import Keras or this library, on the CPU.

    Args:
        artifacts: ("saved_model" or "tflite", path) pairs.
        runs: timed runs at batch 1, for latency.
        threads: for TensorFlow and LiteRT; default one per core.

    Returns:
        A dictionary of arrays per artifact (`replay`).

    Raises:
        ValueError: if an artifact cannot be run, with the last line of the process's errors.
    """
    for kind, path in artifacts:
        if kind == "saved_model":
            refuse_pattern(path)
    with scratch_folder() as folder:
        images, request = Path(folder, "images.npy"), Path(folder, "request.json")
        np.save(images, expected.images)
        outputs = [str(Path(folder, f"{number}.npz")) for number in range(len(artifacts))]
        entries = [
            {"kind": kind, "path": str(path), "outputs": output} for (kind, path), output in zip(artifacts, outputs)
        ]
        request.write_text(
            json.dumps(
                {
                    "artifacts": entries,
                    "files": list(expected.files),
                    "images": str(images),
                    "threads": threads or cores(),
                    "runs": runs,
                    "interpreter": tflite_interpreter.__file__,
                }
            )
        )
        script = Path(__file__).with_name("replay.py")
        run_python(
            ["-P", str(script), str(request)],
            f"{', '.join(str(path) for _, path in artifacts)} could not be run",
        )
        return [dict(np.load(output)) for output in outputs]


def run_python(arguments, failure):
    """Run this Python in a process of its own, on the CPU.

    Args:
        arguments: of the interpreter.
        failure: how the error begins.

    Raises:
        ValueError: if the process fails, with the last line of its errors.
    """
    environment = {**startup.environment("3"), "CUDA_VISIBLE_DEVICES": "-1"}
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
    """Keep this process off the GPUs, which exporting does not need, unless TensorFlow has started on them already."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def cores():
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def versions():
    """Versions of the packages that took part, for reports; None for those that are not installed."""
    from importlib import metadata

    present = {}
    for package in ("keras-vit-models", "tensorflow", "keras", "ai-edge-litert", "litert-quantizer", "numpy"):
        try:
            present[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            present[package] = None
    return present


def _difference_of_features(embedding, images, source):
    """The `outputs.relative` difference of features from the Keras model's."""
    copy = reference(dataclasses.replace(source, loaded=None))
    model = without_head(copy.model)
    with exact(model):
        features = np.concatenate([model.predict_on_batch(copy.inputs(batch)) for batch in batches(images)])
    return relative(embedding, features)


def _difference_at_another_size(outputs, expected, source):
    """The same of the signatures of images of any size, from a model of fixed size, if it can be built for one."""
    from keras_vit.models.sizes import at_image_size

    images = twice(expected.images).astype(np.float32)
    size = images.shape[1:3]
    model = at_image_size(source.model, size) if blocks(source.model) else source.model
    fixed = dataclasses.replace(source, model=model, loaded=None, spec=source.spec.at(size))
    with exact(model):
        given = {
            f"{signature}.{output}": np.asarray(value)
            for signature, function in signatures_of_images(fixed).items()
            for output, value in function(images).items()
        }
    return float(np.max([relative(outputs[name], x) for name, x in given.items()]))


def _predict(predictor, images):
    """The probabilities of uint8 images of the model's size, and their scores of known images or None."""
    prepared = (image.astype(np.float32) for image in images)
    with exact(predictor.model):
        if predictor.unknown is None:
            return predictor.predict_prepared(prepared, BATCH), None
        return predictor.predict_known(prepared, BATCH)


def batches(images):
    """Images (N, H, W, 3) in batches of BATCH, the last maybe smaller."""
    return (images[start : start + BATCH] for start in range(0, len(images), BATCH))


@contextlib.contextmanager
def exact(model):
    """Inside, the model predicts without XLA, which takes seconds to compile, and with full float32 products."""
    import tensorflow as tf

    kept, compiled = tf.config.experimental.tensor_float_32_execution_enabled(), model.jit_compile
    tf.config.experimental.enable_tensor_float_32_execution(False)
    model.jit_compile = False
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(kept)
        model.jit_compile = compiled
