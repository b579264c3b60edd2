"""ONNX and OpenVINO files, written by Keras' own exporters and checked against the Keras model.

    DIR/<name>_<size>.onnx                          report_onnx.json       with `pip install keras-vit-models[onnx]`
    DIR/<name>_<size>.xml, <name>_<size>.bin        report_openvino.json   with keras-vit-models[openvino]
    labels.txt, preprocessing.json

images float32 (B, H, W, 3) in [0, 255]  ->  probabilities float32 (B, K); the normalisation is in the graph, resizing
and cropping (preprocessing.json) are the caller's. Both need Keras on TensorFlow.

Note: Keras computes an exact GELU by erfc, which tf2onnx (1.17) does not know and leaves in the file as it is, where no
runtime knows it either; it is taught here. OpenVINO (2026.4) cannot convert Swin's masked attention from TensorFlow,
but reads the ONNX file.
"""

import contextlib
import functools
import importlib
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np

from keras_vit.export import parity
from keras_vit.export.graph import probabilities
from keras_vit.files import atomic_file

PACKAGES = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "openvino": ("openvino", "scipy")}
SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}
TOLERANCE = 1e-4  # largest difference of probabilities


def convert(source, output, format, expected=None):
    """Convert, check and write a model; nothing is written if the check fails.

    Args:
        source: a `Source`.
        output: a folder, which may hold other files of the same model.
        format: "onnx" or "openvino".
        expected: `parity.Expected` to check against; default on the source's own pictures.
    Returns: the report, also written as report_<format>.json.
    Raises: ValueError if the exporter fails, with the figures if the file does not answer as the Keras model, or if
        output holds another model's labels; ModuleNotFoundError if the format's packages are not installed.
    """
    check_packages(format)
    output, labels = Path(output), "".join(f"{label}\n" for label in source.labels)
    _refuse_other_labels(output / "labels.txt", labels)
    expected = expected or parity.expect(source)
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder, f"{source.name}_{_size(source.spec)}")
        {"onnx": write_onnx, "openvino": write_openvino}[format](
            source, stem.with_name(stem.name + SUFFIXES[format][0])
        )
        files = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES[format]]
        report = {
            "model": source.name,
            "files": {path.name: path.stat().st_size for path in files},  # bytes
            **_checked(files[0], format, expected),
            "versions": {**parity.versions(), **_versions(format)},
        }
        beside = [Path(folder, name) for name in ("labels.txt", "preprocessing.json", f"report_{format}.json")]
        beside[0].write_text(labels, encoding="utf-8")
        source.spec.save(beside[1])
        beside[2].write_text(json.dumps(report, indent=2) + "\n")
        _publish([*files, *beside], output)
    return report


def check_packages(format):
    """Raise ModuleNotFoundError unless the packages of the format are installed, ValueError if there is none of it."""
    if format not in PACKAGES:
        raise ValueError(f"format is one of {', '.join(PACKAGES)}. Received: {format!r}.")
    for package in PACKAGES[format]:
        importlib.import_module(package)


def whole_model(source):
    """The Keras model that is exported: images in [0, 255] -> probabilities."""
    import keras

    images = keras.Input((*source.spec.size, 3), name="images")
    return keras.Model(images, probabilities(source)(images), name=source.name)


def write_onnx(source, path):
    """Write a checked ONNX file whose ends are called images and probabilities, and its free dimension B."""
    import onnx

    _teach_erfc()
    _export(source, path, "onnx")
    model = onnx.load(path)
    [images], [result] = model.graph.input, model.graph.output
    for node in model.graph.node:
        for ends in (node.input, node.output):
            ends[:] = ["probabilities" if name == result.name else name for name in ends]
    result.name = "probabilities"
    for end in (images, result):
        end.type.tensor_type.shape.dim[0].dim_param = "B"
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"{source.name} cannot be converted to ONNX: {error}") from error
    onnx.save(model, path)


def write_openvino(source, path):
    """Write an OpenVINO model (.xml, with .bin beside) whose ends are called images and probabilities."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "model.xml")
        _export(source, written, "openvino")
        model = openvino.Core().read_model(written)
        model.outputs[0].get_tensor().set_names({"probabilities"})
        openvino.save_model(model, path, compress_to_fp16=False)


def _export(source, path, format):
    """Call Keras' exporter; its failures become a ValueError."""
    import keras

    images = keras.InputSpec(shape=(None, *source.spec.size, 3), dtype="float32", name="images")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras', about NumPy
        try:
            whole_model(source).export(str(path), format=format, verbose=False, input_signature=[images])
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = (str(error).rstrip(". \n") or type(error).__name__).splitlines()
            hint = "; OpenVINO reads ONNX files too: --format onnx" if format == "openvino" else ""
            raise ValueError(f"{source.name} cannot be converted to {format}: {reason[-1]}{hint}") from error


@functools.cache
def _teach_erfc():
    """Give tf2onnx the complementary error function: erfc(x) = 1 - erf(x)."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, ctx, node, **kwargs):
            """Replace the node by Erf and Sub."""
            shapes, dtypes = node.output_shapes, node.output_dtypes
            one = ctx.make_const(f"{node.name}/one", np.float32(1)).output[0]
            erf = ctx.make_node("Erf", node.input).output[0]
            ctx.remove_node(node.name)
            ctx.make_node("Sub", [one, erf], name=node.name, outputs=node.output, shapes=shapes, dtypes=dtypes)


def _checked(path, format, expected):
    """The file's figures, run in a process of its own; ValueError if it does not answer as the Keras model."""
    with tempfile.TemporaryDirectory() as folder:
        images, answers = Path(folder, "images.npy"), Path(folder, "answers.npy")
        np.save(images, expected.images)
        script = Path(__file__).with_name("exchange_replay.py")
        arguments = ["-P", str(script), format, str(path), str(images), str(answers)]
        parity.run_python(arguments, f"{path.name} could not be run")
        report = {**parity.compare(expected, np.load(answers)), "tolerance": TOLERANCE}
    if not report["largest_difference"] <= TOLERANCE:
        raise ValueError(
            f"{path.name} does not answer as the Keras model does, and is not kept. {parity.describe(report)}."
        )
    return report


def _refuse_other_labels(path, labels):
    if path.is_file() and path.read_text(encoding="utf-8") != labels:
        raise ValueError(f"{path} belongs to a model with other classes; choose another --output.")


def _size(spec):
    height, width = spec.size
    return str(height) if height == width else f"{height}x{width}"


def _versions(format):
    from importlib import metadata

    return {package: metadata.version(package) for package in PACKAGES[format]}


def _publish(paths, output):
    """Copy the files into the folder: all are written out in full before the first gets its name."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            shutil.copyfile(path, stack.enter_context(atomic_file(output / path.name)))
