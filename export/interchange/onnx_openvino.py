"""ONNX and OpenVINO files, written by Keras' own exporters and checked against the Keras model.

    DIR/<name>_<size>.onnx                          report_onnx.json       with `pip install keras-vit-models[onnx]`
    DIR/<name>_<size>.xml, <name>_<size>.bin        report_openvino.json   with keras-vit-models[openvino]
    labels.txt, preprocessing.json

images float32 (B, H, W, 3) in [0, 255]  ->  probabilities float32 (B, K); the graph normalises, the caller resizes and
crops (preprocessing.json). Of several labels per image, answers.json has the thresholds; a model that can tell unknown
images has a second output, known_score float32 (B), and answers.json its threshold. A model without a classifier gives
its features by name, vectors (B, D) and maps (B, H', W', C), and has no labels.txt. Both formats need Keras on
TensorFlow.

Note: Keras computes an exact GELU by erfc, for which tf2onnx (1.17) has no conversion: it leaves a node that no runtime
has. A conversion is registered here. OpenVINO (2026.4) cannot convert Swin's masked attention from TensorFlow, but it
reads the ONNX file.
"""

import functools
import importlib
import json
import warnings
from pathlib import Path

import numpy as np

from keras_vit.export.model.files import labels_text, publish, size_in_name, write_labels_and_spec
from keras_vit.export.model.inference import outputs as outputs_of
from keras_vit.export.parity import feature_figures, parity
from keras_vit.export.parity.feature_figures import DIFFERENCE
from keras_vit.export.parity.features import expect_features
from keras_vit.sources.run_folder import LABELS
from keras_vit.system.files import scratch_folder

PACKAGES = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "openvino": ("openvino", "scipy")}
SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}
TOLERANCE = 1e-4  # largest difference of probabilities, and of scores of known images relative to the largest


def convert(source, output, format, expected=None):
    """Convert, check and write a model; nothing is written if the check fails.

    Args:
        source: an `ExportedModel`.
        output: a folder, which may hold other files of the same model.
        format: "onnx" or "openvino".
        expected: `parity.Expected` to check against, or of features `ExpectedFeatures`; default for the source's own
            images.

    Returns:
        The report, also written as report_<format>.json.

    Raises:
        ModuleNotFoundError: if the format's packages are not installed.
        ValueError: if the exporter fails, if the file's outputs differ from the Keras model's (with the figures), or if
            the folder has another model's labels, or files of the model with other outputs.
    """
    check_packages(format)
    output = Path(output)
    _refuse_others(output, source)
    expected = expected or (expect_features if source.features else parity.expect)(source)
    with scratch_folder() as folder:
        stem = Path(folder, f"{source.name}_{size_in_name(source.spec)}")
        {"onnx": write_onnx, "openvino": write_openvino}[format](
            source, stem.with_name(stem.name + SUFFIXES[format][0])
        )
        files = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES[format]]
        report = {
            "model": source.name,
            "files": {path.name: path.stat().st_size for path in files},  # bytes
            **checked(files[0], format, expected)[0],
            "versions": {**parity.versions(), **_versions(format)},
        }
        written = Path(folder, f"report_{format}.json")
        written.write_text(json.dumps(report, indent=2) + "\n")
        publish([*files, *write_labels_and_spec(Path(folder), source), written], output)
    return report


def check_packages(format):
    """Check that the packages of a format are installed.

    Raises:
        ModuleNotFoundError: if one is not.
        ValueError: for an unknown format.
    """
    if format not in PACKAGES:
        raise ValueError(f"Expected one of the formats {', '.join(PACKAGES)}. Received: {format!r}.")
    for package in PACKAGES[format]:
        importlib.import_module(package)


def whole_model(source):
    """The Keras model that is exported: images in [0, 255] -> its outputs by name, which the exporters keep."""
    import keras

    images = keras.Input((*source.spec.size, 3), name="images")
    return keras.Model(images, dict(outputs_of(source)(images)), name=source.name)


def write_onnx(source, path):
    """Write a checked ONNX file with input "images" and the free dimension B."""
    import onnx

    _register_erfc()
    _export(source, path, "onnx")
    model = onnx.load(path)
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "B"
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"{source.name} cannot be converted to ONNX: {error}") from error
    onnx.save(model, path)


def write_openvino(source, path):
    """Write an OpenVINO model (.xml, with .bin beside it) with input "images"."""
    import openvino

    with scratch_folder() as folder:
        written = Path(folder, "model.xml")
        _export(source, written, "openvino")
        model = openvino.Core().read_model(written)
        names = set(whole_model(source).output)
        for output in model.outputs:  # which may have names of operations besides
            output.get_tensor().set_names(names & output.get_names())
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
def _register_erfc():
    """Register a conversion of the complementary error function with tf2onnx: erfc(x) = 1 - erf(x)."""
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


def ends(path):
    """The ends of an ONNX file, {"inputs": {name: shape}, "outputs": {name: shape}}, a shape with None for B."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return {
        kind: {
            end.name: tuple(
                side.dim_value if side.HasField("dim_value") else None for side in end.type.tensor_type.shape.dim
            )
            for end in listed
        }
        for kind, listed in (("inputs", graph.input), ("outputs", graph.output))
    }


def checked(path, format, expected):
    """Run a file in a process of its own, by the runtime of a format; OpenVINO reads ONNX files too.

    Args:
        path: of the file.
        format: "onnx" or "openvino".
        expected: `parity.Expected`, or of features `ExpectedFeatures`.

    Returns:
        (its figures, {output: float32 (N, ...)}).

    Raises:
        ValueError: if its outputs differ from the Keras model's.
    """
    with scratch_folder() as folder:
        images, outputs = Path(folder, "images.npy"), Path(folder, "outputs.npz")
        np.save(images, expected.images)
        script = Path(__file__).with_name("replay.py")
        arguments = ["-P", str(script), format, str(path), str(images), str(outputs)]
        parity.run_python(arguments, f"{path.name} could not be run")
        given = dict(np.load(outputs))
        if hasattr(expected, "features"):
            return _checked_features(path.name, expected, given), given
        report = {**parity.compare(expected, given["probabilities"], given.get("known_score")), "tolerance": TOLERANCE}
    if not max(value for name, value in report.items() if name.startswith("largest_difference")) <= TOLERANCE:
        raise ValueError(
            f"The outputs of {path.name} differ from the Keras model's, so it is not kept. {parity.describe(report)}."
        )
    return report, given


def _checked_features(name, expected, given):
    """The figures of a file that gives features."""
    feature_figures.check_shapes(name, expected, given)
    report = {**feature_figures.figures(expected, given), "limits": {DIFFERENCE: feature_figures.FLOAT32}}
    feature_figures.require_within(name, report)
    return report


def _refuse_others(output, source):
    """Raise a ValueError if a folder holds files of other classes, or of other features than the source's."""
    labels = output / LABELS
    if not source.features and labels.is_file() and labels.read_text(encoding="utf-8") != labels_text(source.labels):
        raise ValueError(f"{labels} belongs to a model with other classes; choose another --output.")
    for path in output.glob("report_*.json"):
        held = sorted(json.loads(path.read_text(encoding="utf-8")).get("features", ()))
        if held != sorted(source.features):
            raise ValueError(
                f"{output} holds files that give {', '.join(held) or 'classes'}, not "
                f"{', '.join(source.features) or 'classes'}; choose another --output."
            )


def _versions(format):
    from importlib import metadata

    return {package: metadata.version(package) for package in PACKAGES[format]}
