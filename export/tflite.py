""".tflite files for phones and small computers: one picture in, probabilities out, nothing but builtin operators.

    DIR/<name>_<size>_<quantisation>.tflite, labels.txt, preprocessing.json, report.json, example.py, README.md, and
    disagreements.png where a file and the Keras model name different classes

image (1, H, W, 3) in [0, 255]  ->  probabilities (1, K); the normalisation is in the graph, resizing and cropping
(preprocessing.json) are the caller's. int8 and int16x8 take uint8, and give uint8 in steps of 1/255 where that changes
no answer beyond the budget, else float32 as the others. All files of one command appear together, after every check.
"""

import contextlib
import dataclasses
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vit.export import (
    budget,
    calibration,
    contract,
    disagreements,
    edge_bundle,
    edge_report,
    metadata,
    parity,
    sensitivity,
)
from keras_vit.export.graph import probabilities
from keras_vit.export.quantise import DEFAULT, QUANTISATIONS, STATIC, STEPS, Quantiser, layer_name
from keras_vit.export.replay import tflite_predictor
from keras_vit.files import atomic_file
from keras_vit.layers.depthwise import depthwise_in_parts

REPORT = "report.json"
SUFFIX = {"none": "fp32", "float16": "fp16"}  # in a file's name; the others are called as the quantisation
RUNS, THREADS = 50, 1  # timed; more threads than a phone has free cores wait for each other
RANKED_ON = 4  # pictures of the calibration, to rank layers


@dataclass(frozen=True)
class Job:
    """What the files of one command have in common."""

    source: Any
    expected: parity.Expected
    quantiser: Quantiser
    folder: Path
    max_loss: float
    force: bool
    runs: int


def convert(
    source,
    output,
    quantisations=DEFAULT,
    expected=None,
    calibrated=None,
    max_loss=budget.MAX_LOSS,
    force=False,
    runs=RUNS,
):
    """Convert, check and write one file per quantisation; nothing is written if one of them fails.

    Args:
        source: a `Source`.
        output: a folder, which may hold files of the same model already.
        quantisations: of `QUANTISATIONS`.
        expected: `parity.Expected` to check against; default on the source's own pictures.
        calibrated: the `calibration.Calibration` to measure ranges of activations on; default noise.
        max_loss: points of accuracy that a quantised file may lose; layers stay float until it does not.
        force: write files that lose more all the same; the report says so.
        runs: how often one picture is answered to time it.
    Returns: the report, also written as report.json.
    Raises: ValueError naming operators that TFLite lacks, or with the figures of a file that misses its limits.
    """
    output, quantisations = Path(output), tuple(dict.fromkeys(quantisations))
    _check_arguments(source, output, quantisations, max_loss)
    expected = expected or parity.expect(source)
    calibrated = calibrated or calibration.from_noise(source.spec)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        run_converter(source, folder / "float.tflite", folder / "static")
        quantiser = Quantiser((folder / "float.tflite").read_bytes(), calibrated.images)
        job = Job(source, expected, quantiser, folder, max_loss, force, runs)
        made = {quantisation: make(job, quantisation) for quantisation in quantisations}
        static = any(quantisation in STATIC for quantisation in quantisations)
        report = {
            "model": source.name,
            "weights_sha256": _weights_sha256(source),
            "max_loss": max_loss,
            "calibration": calibrated.report() if static else None,
            "files": [entry for entry, _ in made.values()],
            "versions": parity.versions(),
        }
        files = [folder / entry["file"] for entry, _ in made.values()]
        answers = {quantisation: answered for quantisation, (_, answered) in made.items()}
        _publish([*files, *_write_beside(job, report, answers)], output)
    return report


def make(job, quantisation):
    """Write one file into the job's folder, with as few layers float as keeps it within its limits.

    Output: (its entry in the report, its probabilities).
    Raises: ValueError with the figures if it misses the limits and is not forced.
    """
    path, expected = job.folder / file_name(job.source, quantisation), job.expected
    allowed = budget.limits(quantisation, expected, job.max_loss)

    def attempt(kept, rounded=False, floats=()):
        content = job.quantiser.quantised(quantisation, kept, rounded, floats)
        path.write_bytes(metadata.embed(content, job.source, job.source.name, quantisation))
        contract.check(path)
        return parity.replay_all([("tflite", path)], expected)[0]

    def holds(answers):
        return budget.within(budget.figures(expected, answers["probabilities"]), allowed)

    layers = job.quantiser.layers(quantisation)
    kept, answers = sensitivity.search(layers, attempt, holds, error_of(job, quantisation, layers))
    floats = ()
    if quantisation in STATIC and not holds(answers):  # not even with all of them as in dynamic_int8
        error = error_of(job, "dynamic_int8", layers)
        floats, answers = sensitivity.search(layers, lambda some: attempt(kept, floats=some), holds, error)
    exact = given = answers["probabilities"]
    if quantisation in STATIC and _may_be_rounded(exact, expected, allowed):
        answers = attempt(kept, True, floats)
        given = answers["probabilities"]
    found = budget.figures(expected, exact, given)
    good = budget.within(found, allowed)
    if not good and not job.force:
        helpless = f" with all of its {len(kept)} layers float" if kept else ""
        raise ValueError(
            f"{path.name} does not answer as the Keras model does{helpless}, and is not kept: "
            f"{budget.describe(found, allowed)}. --max-loss allows more, --force writes it all the same."
        )
    one = dataclasses.replace(expected, files=expected.files[:1], images=expected.images[:1])
    timed = parity.replay_all([("tflite", path)], one, job.runs, THREADS)[0]["milliseconds"]
    latency = edge_report.latency(timed, THREADS)
    entry = edge_report.entry(path, quantisation, contract.check(path), found, allowed, answers["delegation"], kept)
    entry["latency_ms"] = latency
    entry["float_weight_layers"] = list(dict.fromkeys(map(layer_name, floats)))
    entry["input"] = "uint8" if quantisation in STATIC else "float32"
    entry["output"] = "float32" if given is exact else "uint8"
    return {**entry, "within_limits": good}, given


def error_of(job, quantisation, layers):
    """A function from a layer's name to the error of logits with that layer quantised and the others kept float."""
    images = job.quantiser.images[:RANKED_ON].astype("float32")
    path = job.folder / "alone.tflite"

    def logits(kept):
        path.write_bytes(job.quantiser.quantised(quantisation, kept))
        predict = tflite_predictor(str(path), parity.cores())
        return parity.logits(np.concatenate([predict(image[np.newaxis]) for image in images]))

    reference = []

    def error(layer):
        reference[:] = reference or [logits(layers)]
        return sensitivity.error(logits([name for name in layers if name != layer]), reference[0])

    return error


def run_converter(source, path, folder):
    """Write the float32 .tflite file in a process of its own, from a SavedModel made in `folder`."""
    save_static(source, folder)
    script = Path(__file__).with_name("converter.py")
    parity.run_python(["-P", str(script), str(folder), str(path)], f"{source.name} cannot be converted to TFLite")


def save_static(source, folder):
    """Write the SavedModel that is converted: batch 1, every shape fixed."""
    predict, module = probabilities(source), tf.Module()
    module.parameters = [weight.value for weight in source.model.weights]
    image = tf.TensorSpec([1, *source.spec.size, 3], tf.float32, name="image")
    module.serve = tf.function(lambda image: {"probabilities": predict(image)}, input_signature=[image])
    with depthwise_in_parts():
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})


def file_name(source, quantisation):
    """digits_32_fp32.tflite; digits_32x64_dynamic_int8.tflite where the sides differ."""
    height, width = source.spec.size
    size = str(height) if height == width else f"{height}x{width}"
    return f"{source.name}_{size}_{SUFFIX.get(quantisation, quantisation)}.tflite"


def _check_arguments(source, output, quantisations, max_loss):
    unknown = sorted(set(quantisations) - set(QUANTISATIONS))
    if unknown or not quantisations:
        raise ValueError(
            f"Quantisations are {', '.join(QUANTISATIONS)}. Received: {', '.join(unknown) or 'none given'}."
        )
    if not 0 <= max_loss < 50:
        raise ValueError(f"max_loss is in points of accuracy, 0 or more and below 50. Received: {max_loss}.")
    if (output / REPORT).is_file():
        present = json.loads((output / REPORT).read_text()).get("model")
        if present != source.name:
            raise ValueError(
                f"{output} holds the files of {present!r}, and labels.txt beside them belongs to it; "
                f"choose another --output for {source.name!r}."
            )


def _may_be_rounded(exact, expected, allowed):
    """Whether probabilities in steps of 1/255 keep to the limits, and leave best classes what they are."""
    rounded = np.round(exact * STEPS) / STEPS
    same = (parity.best_classes(rounded) == parity.best_classes(exact)).mean()
    return bool(same >= allowed.get("agreement", 0.99)) and budget.within(
        budget.figures(expected, exact, rounded), allowed
    )


def _weights_sha256(source):
    from keras_vit.weights.download import fetch, sha256

    path = source.weights or (fetch(source.published) if source.published else None)
    return sha256(path) if path else None


def _write_beside(job, report, answers):
    """The bundle's other files; their paths."""
    labels, spec, written = (job.folder / name for name in ("labels.txt", "preprocessing.json", REPORT))
    labels.write_text("".join(f"{label}\n" for label in job.source.labels), encoding="utf-8")
    job.source.spec.save(spec)
    written.write_text(json.dumps(report, indent=2) + "\n")
    sheet = job.folder / "disagreements.png"
    drawn = disagreements.save(sheet, job.expected, job.source.labels, answers)
    return [labels, spec, written, *edge_bundle.write(job.folder, job.source, report), *([sheet] if drawn else [])]


def _publish(paths, output):
    """Copy the files into the folder: all are written out in full before the first gets its name."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            shutil.copyfile(path, stack.enter_context(atomic_file(output / path.name)))
