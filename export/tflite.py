""".tflite files for phones and small computers: one picture in, probabilities out, nothing but builtin operators.

    DIR/<name>_<size>_fp32.tflite, <name>_<size>_dynamic_int8.tflite, labels.txt, preprocessing.json, report.json

image float32 (1, H, W, 3) in [0, 255]  ->  probabilities float32 (1, K); the normalisation is in the graph, resizing
and cropping (preprocessing.json) are the caller's. All files of one command appear together, after every check.
"""

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

import tensorflow as tf

from keras_vit.export import flatbuffer, parity
from keras_vit.export.converter import QUANTISATIONS
from keras_vit.export.graph import probabilities
from keras_vit.files import atomic_file

REPORT = "report.json"
SUFFIX = {"none": "fp32"}  # in a file's name; the others are called as the quantisation


def convert(source, output, quantisations=QUANTISATIONS, expected=None):
    """Convert, check and write one file per quantisation; nothing is written if one of them fails.

    Args:
        source: a `Source`.
        output: a folder, which may hold files of the same model already.
        quantisations: of "none" (float32) and "dynamic_int8" (int8 weights, float arithmetic where it matters).
        expected: `parity.Expected` to check against; default on the source's own pictures.
    Returns: the report, also written as report.json.
    Raises: ValueError naming operators that TFLite lacks, or with the figures of a file that misses its tolerance.
    """
    output, quantisations = Path(output), tuple(dict.fromkeys(quantisations))
    _check_arguments(source, output, quantisations)
    expected = expected or parity.expect(source)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = {q: folder / file_name(source, q) for q in quantisations}
        run_converter(source, files, folder / "static")
        reports = [_checked_contents(path, q) for q, path in files.items()]
        answers = parity.replay_all([("tflite", path) for path in files.values()], expected)
        for (q, path), report, answer in zip(files.items(), reports, answers):
            report.update(parity.check_tflite(path.name, q != "none", expected, answer))
        report = {"model": source.name, "files": reports, "versions": parity.versions()}
        beside = [folder / name for name in ("labels.txt", "preprocessing.json", REPORT)]
        beside[0].write_text("".join(f"{label}\n" for label in source.labels), encoding="utf-8")
        source.spec.save(beside[1])
        beside[2].write_text(json.dumps(report, indent=2) + "\n")
        _publish([*files.values(), *beside], output)
    return report


def run_converter(source, files, folder):
    """Write the .tflite files (quantisation -> path) in a process of its own, from a SavedModel made in `folder`."""
    save_static(source, folder)
    request = json.dumps({"saved_model": str(folder), "files": {q: str(path) for q, path in files.items()}})
    script = Path(__file__).with_name("converter.py")
    printed = parity.run_python(["-P", str(script), request], f"{source.name} could not be converted to TFLite")
    problem = json.loads(printed.splitlines()[-1]).get("error")
    if problem:
        raise ValueError(f"{source.name} cannot be converted to TFLite: {problem}")


def save_static(source, folder):
    """Write the SavedModel that is converted: batch 1, every shape fixed."""
    predict, module = probabilities(source), tf.Module()
    module.parameters = [weight.value for weight in source.model.weights]
    image = tf.TensorSpec([1, *source.spec.size, 3], tf.float32, name="image")
    module.serve = tf.function(lambda image: {"probabilities": predict(image)}, input_signature=[image])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})


def file_name(source, quantisation):
    """digits_32_fp32.tflite; digits_32x64_dynamic_int8.tflite where the sides differ."""
    height, width = source.spec.size
    size = str(height) if height == width else f"{height}x{width}"
    return f"{source.name}_{size}_{SUFFIX.get(quantisation, quantisation)}.tflite"


def _check_arguments(source, output, quantisations):
    unknown = sorted(set(quantisations) - set(QUANTISATIONS))
    if unknown or not quantisations:
        raise ValueError(
            f"Quantisations are {', '.join(QUANTISATIONS)}. Received: {', '.join(unknown) or 'none given'}."
        )
    if (output / REPORT).is_file():
        present = json.loads((output / REPORT).read_text()).get("model")
        if present != source.name:
            raise ValueError(
                f"{output} holds the files of {present!r}, and labels.txt beside them belongs to it; "
                f"choose another --output for {source.name!r}."
            )


def _checked_contents(path, quantisation):
    contents = flatbuffer.inspect_file(path)
    flatbuffer.check(contents, path.name)
    return {
        "file": path.name,
        "quantisation": quantisation,
        "size_bytes": path.stat().st_size,
        "max_rank": contents.max_rank,
        "operators": contents.operators,
    }


def _publish(paths, output):
    """Copy the files into the folder: all are written out in full before the first gets its name."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            shutil.copyfile(path, stack.enter_context(atomic_file(output / path.name)))
