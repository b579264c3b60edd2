""".tflite files for phones and small computers: one image in, probabilities out, builtin operators only.

    DIR/<name>_<size>_<quantization>.tflite, labels.txt, preprocessing.json, report.json, example.py, README.md, and
    disagreements.png where a file and the Keras model name different classes

Of several sizes, preprocessing.json has the first; a file's own size is that of its input, and all else is the same.

image (1, H, W, 3) in [0, 255]  ->  probabilities (1, K); the graph normalises, the caller resizes and crops
(preprocessing.json). int8 and int16x8 take uint8, and give uint8 in steps of 1/255 if that stays within the tolerance,
else float32 as the others. Of several labels per image, answers.json has the thresholds. A model that can tell unknown
images has a second output, known_score (1, 1), and answers.json its threshold; both outputs are float32 then.
All files of one command appear together, after every check.
"""

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vit.export.edge import (
    bundle,
    calibration,
    contract,
    disagreements,
    feature_tolerance,
    metadata,
    report,
    sensitivity,
)
from keras_vit.export.edge import target as targets
from keras_vit.export.edge import tolerance
from keras_vit.export.edge.quantizations import DEFAULT, FITTED, MAX_LOSS, QUANTIZATIONS, STATIC
from keras_vit.export.edge.quantize import STEPS, Quantizer, layer_name
from keras_vit.export.model.files import REPORT, publish, size_in_name, write_labels_and_spec
from keras_vit.export.model.inference import outputs as outputs_of
from keras_vit.export.parity import parity
from keras_vit.export.parity.features import expect_features
from keras_vit.export.parity.outputs import given_classes, share
from keras_vit.layers.depthwise import depthwise_in_parts
from keras_vit.prediction.tflite_interpreter import open_interpreter, signature_predictor
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import LABELS, SPEC
from keras_vit.system.files import scratch_folder, temporaries_in

SUFFIX = {"none": "fp32", "float16": "fp16"}  # in a file's name; for the others the quantization's own name
RUNS, THREADS = 50, 1  # timed; more threads than a phone has free cores wait for each other
RANKED_ON = 4  # calibration images, to rank layers


@dataclass(frozen=True)
class Job:
    """What the files of one command and image size have in common."""

    source: Any
    expected: parity.Expected
    quantizer: Quantizer
    folder: Path
    max_loss: float
    force: bool
    runs: int
    target: str = "cpu"

    @property
    def tolerance(self):
        """The module that says how far outputs may be from the Keras model's."""
        return feature_tolerance if self.source.features else tolerance


def convert(
    source, output, quantizations=DEFAULT, expected=None, calibrated=None, max_loss=MAX_LOSS, force=False, runs=RUNS
):
    """Convert, check and write one file per quantization; nothing is written if one of them fails.

    Args:
        source: an `ExportedModel`.
        output: a folder, which may hold files of the same model already.
        quantizations: of `QUANTIZATIONS`.
        expected: `parity.Expected` to check against, or of features `ExpectedFeatures`; default for the source's own
            images.
        calibrated: `calibration.Calibration`, to measure ranges of activations on; default noise.
        max_loss, force, runs: as `convert_sizes`.

    Returns:
        The report, also written as report.json.

    Raises:
        ValueError: as `convert_sizes`.
    """
    return convert_sizes([(source, expected, calibrated)], output, quantizations, max_loss, force, runs)


def convert_sizes(
    wanted, output, quantizations=DEFAULT, max_loss=MAX_LOSS, force=False, runs=RUNS, target="cpu", index=None
):
    """Convert, check and write one file per image size and quantization; nothing is written if one of them fails.

    Args:
        wanted: an iterable of (source, expected, calibrated) as `convert` takes them, the same model for a size each.
            They are asked for one after the other, so that not all models are in memory at once.
        output, quantizations: as `convert`.
        max_loss: points of accuracy that a quantized file may lose; layers stay float until it is within them.
        force: write files that lose more nevertheless; the report notes it.
        runs: timed runs of one image.
        target: "cpu", or "gpu" for files that LiteRT's GPU delegate takes whole, checked in emulated float16.
        index: `Embeddings` to write beside files of features, whose nearest vectors example.py prints.

    Returns:
        The report, also written as report.json.

    Raises:
        ValueError: if TFLite or the GPU delegate lacks operators, naming them, or if a file exceeds its limits, with
            the figures.
    """
    output, quantizations = Path(output), tuple(dict.fromkeys(quantizations))
    with scratch_folder() as folder:
        folder, made = Path(folder), []
        for source, expected, calibrated in wanted:
            _check_arguments(source, output, quantizations, max_loss)
            targets.check_quantizations(target, quantizations)
            inside = folder / source.spec.size_name
            inside.mkdir()
            made.append(_at_size(source, expected, calibrated, quantizations, (inside, max_loss, force, runs, target)))
        _refuse_other_crops(output, made)
        summary = _summary(made, max_loss)
        files = [file for one in made for file in one.files]
        publish([*files, *_write_beside(folder, made, summary, index)], output)
        if index is None:  # one that is there may be of other weights, and the new README says of none
            (output / bundle.INDEX).unlink(missing_ok=True)
    return summary


@dataclass(frozen=True)
class Made:
    """The files of one image size."""

    source: Any  # the `ExportedModel`, without its model
    files: tuple[Path, ...]
    entries: tuple[dict, ...]  # of the report
    warnings: tuple[str, ...]
    calibration: dict | None  # of the report; None where no file needs it
    sheet: Path | None  # the images on which a file and the Keras model disagree, where there are any


def _at_size(source, expected, calibrated, quantizations, rest):
    """Make the files of one size, `Made`; `rest` are the last fields of a `Job`, the folder first, the target last."""
    folder = rest[0]
    expected = expected or (expect_features if source.features else parity.expect)(source)
    calibrated = calibrated or calibration.from_noise(source.spec)
    run_converter(source, folder / "float.tflite", folder / "static")
    content = (folder / "float.tflite").read_bytes()
    if rest[-1] == "gpu":
        content = targets.rewritten(content, calibrated.images, expected.images)
    job = Job(source, expected, Quantizer(content, calibrated.images, calibrated.real), *rest)
    made = {quantization: make(job, quantization) for quantization in quantizations}
    outputs, sheet = {quantization: given for quantization, (_, given) in made.items()}, folder / "disagreements.png"
    drawn = not source.features and disagreements.save(sheet, expected, source.labels, outputs)
    entries = tuple(entry for entry, _ in made.values())
    return Made(
        dataclasses.replace(source, model=None, loaded=None),
        tuple(folder / entry["file"] for entry in entries),
        entries,
        expected.warnings,
        _calibration_report(folder, source, calibrated, quantizations),
        sheet if drawn else None,
    )


def _calibration_report(folder, source, calibrated, quantizations):
    """The entry of the report on the images that activations were measured on; None where none were."""
    if not set(quantizations) & {*STATIC, *(FITTED if calibrated.real else ())}:
        return None
    if source.features:
        return calibrated.report()
    predict = signature_predictor(open_interpreter(folder / "float.tflite", parity.cores()))
    images = calibrated.images[: calibration.FEW].astype("float32")
    return calibrated.report([int(predict(image[np.newaxis]).argmax()) for image in images])


def make(job, quantization):
    """Write one file into the job's folder, with as few float layers as keep it within its limits.

    Returns:
        (its entry in the report, its probabilities (N, K); of features None).

    Raises:
        ValueError: if it exceeds the limits and is not forced, with the figures.
    """
    path, expected = job.folder / file_name(job.source, quantization), job.expected
    allowed = job.tolerance.limits(quantization, expected, job.max_loss)
    kept, floats, exact, outputs = _search(job, quantization, path, allowed)
    given = outputs.get("probabilities")
    rounded = given is not exact.get("probabilities")
    found = job.tolerance.figures(expected, exact, given if rounded else None)
    good = tolerance.within(found, allowed)
    if not good and not job.force:
        despite = f", with all of its {len(kept)} layers float" if kept else ""
        more = "" if job.source.features else "--max-loss allows more, "
        raise ValueError(
            f"{path.name} exceeds its tolerance{despite}, so it is not kept: "
            f"{job.tolerance.describe(found, allowed)}. {more}--force writes it nevertheless."
        )
    one = dataclasses.replace(expected, files=expected.files[:1], images=expected.images[:1])
    timed = parity.replay_all([("tflite", path)], one, job.runs, THREADS)[0]["milliseconds"]
    latency = report.latency(timed, THREADS)
    entry = report.entry(path, quantization, contract.check(path), found, allowed, outputs["delegation"], kept)
    entry["image_size"] = list(job.source.spec.size)
    entry["latency_ms"] = latency
    entry["float_weight_layers"] = list(dict.fromkeys(map(layer_name, floats)))
    entry["input"] = "uint8" if quantization in STATIC else "float32"
    entry["output"] = "uint8" if rounded else "float32"
    if job.target == "gpu":
        entry["gpu"] = targets.checked(path, job, exact)
    return {**entry, "within_limits": good}, given


def _search(job, quantization, path, allowed):
    """Write the file with as few float layers as keep it within the limits, or with all of them.

    Returns:
        (layers with float activations, those of them with float weights too, outputs before probabilities are rounded
        to uint8, outputs of the file).
    """
    expected = job.expected

    def attempt(kept, rounded=False, floats=()):
        content = job.quantizer.quantized(quantization, kept, rounded, floats)
        path.write_bytes(metadata.embed(content, job.source, job.source.name, quantization))
        contract.check(path)
        return parity.replay_all([("tflite", path)], expected)[0]

    def holds(outputs):
        return tolerance.within(job.tolerance.figures(expected, outputs), allowed)

    layers = job.quantizer.layers(quantization)
    kept, outputs = sensitivity.search(layers, attempt, holds, error_of(job, quantization))
    floats = ()
    if quantization in STATIC and not holds(outputs):  # not even with all of them as in dynamic_int8
        error = error_of(job, "dynamic_int8")
        floats, outputs = sensitivity.search(layers, lambda some: attempt(kept, floats=some), holds, error)
    exact = outputs
    if quantization in STATIC and may_be_rounded(exact, expected, allowed):
        outputs = attempt(kept, True, floats)
    return kept, floats, exact, outputs


def error_of(job, quantization):
    """A function from a layer's name to the error of the logits, or features, with only that layer quantized."""

    @functools.cache
    def errors():
        (_, reference), *others = (
            (layer, job.tolerance.signal(job.expected, outputs))
            for layer, outputs in job.quantizer.effects(quantization, job.quantizer.images[:RANKED_ON])
        )
        return {layer: sensitivity.error(given, reference) for layer, given in others}

    return lambda layer: errors()[layer]


def run_converter(source, path, folder):
    """Write the float32 .tflite file in a process of its own, from a SavedModel made in `folder`."""
    save_static(source, folder)
    script = Path(__file__).with_name("converter.py")
    parity.run_python(["-P", str(script), str(folder), str(path)], f"{source.name} cannot be converted to TFLite")


def save_static(source, folder):
    """Write the SavedModel that is converted: batch 1, all shapes static."""
    predict, module = outputs_of(source), tf.Module()
    module.parameters = [weight.value for weight in source.model.weights]
    image = tf.TensorSpec([1, *source.spec.size, 3], tf.float32, name="image")

    def serve(image):  # vectors and scores of rank 2, as MediaPipe wants them
        given = predict(image)
        return {name: tf.reshape(x, (1, -1)) if len(x.shape) < 3 else x for name, x in given.items()}

    module.serve = tf.function(serve, [image], autograph=False)
    with depthwise_in_parts(), temporaries_in(Path(folder).parent):
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})


def file_name(source, quantization):
    """digits_32_fp32.tflite; digits_32x64_dynamic_int8.tflite where the sides differ."""
    return f"{source.name}_{size_in_name(source.spec)}_{SUFFIX.get(quantization, quantization)}.tflite"


def _check_arguments(source, output, quantizations, max_loss):
    unknown = sorted(set(quantizations) - set(QUANTIZATIONS))
    if unknown or not quantizations:
        raise ValueError(
            f"Quantizations are {', '.join(QUANTIZATIONS)}. Received: {', '.join(unknown) or 'none given'}."
        )
    if not 0 <= max_loss < 50:
        raise ValueError(f"max_loss is in points of accuracy, 0 or more and below 50. Received: {max_loss}.")
    check_folder(output, source.name, features=source.features)


def check_folder(output, name, format="tflite", features=()):
    """Check that files may be written into a folder: it holds none, or those of the same model and format.

    Args:
        output: the folder, which need not exist.
        name: of the model.
        format: "tflite", or "web" for a page.
        features: names of the outputs of a model without a classifier.

    Returns:
        The report of the files that it holds, {} if there are none.

    Raises:
        ValueError: if it holds others.
    """
    path = Path(output) / REPORT
    present = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not present:
        return present
    held, given = (", ".join(names or ["classes"]) for names in (present.get("features"), features))
    if present.get("model") != name:
        raise ValueError(
            f"{output} holds the files of {present.get('model')!r}, and the {LABELS} beside them is of that model; "
            f"choose another --output for {name!r}."
        )
    if present.get("format", "tflite") != format:
        raise ValueError(
            f"{output} was written with --format {present.get('format', 'tflite')}; choose another --output for "
            f"--format {format}."
        )
    if held != given:
        raise ValueError(f"{output} holds files that give {held}, not {given}; choose another --output.")
    return present


def _refuse_other_crops(output, made):
    """Raise if files that stay in the folder were made for images that are prepared otherwise, but for the size."""
    replaced = {file.name for one in made for file in one.files}
    kept = [file.name for file in output.glob("*.tflite") if file.name not in replaced]
    ours, path = made[0].source.spec, output / SPEC
    if not kept or not path.is_file():
        return
    present = Spec.load(path)
    if dataclasses.replace(ours, size=present.size, input_values=None) != present:
        raise ValueError(
            f"{output} holds {kept[0]}, whose images are prepared otherwise ({SPEC}: crop_pct {present.crop_pct}; here "
            f"{ours.crop_pct}). Choose another --output."
        )


def may_be_rounded(outputs, expected, allowed):
    """Whether a file's only outputs are probabilities, and in steps of 1/255 keep the best classes and the limits."""
    if "probabilities" not in outputs or "known_score" in outputs:
        return False
    exact = outputs["probabilities"]
    rounded = np.round(exact * STEPS) / STEPS
    same = share(*(given_classes(one, expected.thresholds) for one in (rounded, exact)))
    return bool(same >= allowed.get("agreement", 0.99)) and tolerance.within(
        tolerance.figures(expected, outputs, rounded), allowed
    )


def _weights_sha256(source):
    from keras_vit.weights.download import fetch, sha256

    path = source.weights or (fetch(source.published) if source.published else None)
    return sha256(path) if path else None


def _summary(made, max_loss):
    """The content of report.json."""
    first = made[0]
    warnings = list(dict.fromkeys(warning for one in made for warning in one.warnings))
    return {
        "model": first.source.name,
        **({"features": list(first.source.features)} if first.source.features else {}),
        "weights_sha256": _weights_sha256(first.source),
        "max_loss": max_loss,
        "calibration": first.calibration,
        **({"warnings": warnings} if warnings else {}),
        "files": [entry for one in made for entry in one.entries],
        "versions": parity.versions(),
    }


def _write_beside(folder, made, summary, index):
    """Write the bundle's other files; returns their paths."""
    written, source = folder / REPORT, made[0].source
    written.write_text(json.dumps(summary, indent=2) + "\n")
    paths = [*write_labels_and_spec(folder, source), written, *bundle.write(folder, source, summary, index)]
    for one in (one for one in made if one.sheet):
        several = f"_{one.source.spec.size_name}" if len(made) > 1 else ""
        paths.append(one.sheet.rename(folder / f"disagreements{several}.png"))
    return paths
