"""A SavedModel for TF Serving: encoded images in, names and scores out, everything between in the graph.

    DIR/models/<name>/<version>/   saved_model.pb, variables/, assets/labels.txt, assets/preprocessing.json, for several
                                   labels or a score of known images assets/answers.json,
                                   assets.extra/report.json, assets.extra/tf_serving_warmup_requests

`served` has the signatures.
"""

import json
import re
from pathlib import Path

import tensorflow as tf

from keras_vit.export.model import files
from keras_vit.export.parity import parity
from keras_vit.export.parity.features import check_saved_features, expect_features
from keras_vit.export.serving import operators, serving_config, warmup
from keras_vit.export.serving.served import ServedFeatures, ServedModel
from keras_vit.prediction.embeddings_file import save_embeddings
from keras_vit.system.files import atomic_folder, refuse_pattern, scratch_folder, temporaries_in

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # safe in a path, in a REST URL and in models.config
REPORT = f"assets.extra/{files.REPORT}"
INDEX = "assets.extra/index.npz"
BATCH_SIZES = serving_config.Batching.sizes  # that a server forms of waiting requests


def export(source, output, name=None, top_k=None, expected=None, batch_sizes=BATCH_SIZES, index=None):
    """Write the next version of the model under output/models/<name>/, checked; nothing stays if the check fails.

    Args:
        source: an `ExportedModel`.
        output: the bundle's folder.
        name: the model's name on the server; default the source's.
        top_k: classes returned per image, at most all; default TOP_K, or all of a model with several labels.
        expected: `parity.Expected` to check against, or of features `ExpectedFeatures`; default for the source's own
            images.
        batch_sizes: for which the server is warmed up.
        index: `Embeddings` of images, of a model that gives a vector; the page of the development server shows the
            nearest.

    Returns:
        (path of the version, report, outputs of the saved model for the expected images).

    Raises:
        ValueError: for an unusable name, top_k or output, missing operators in TF Serving, or outputs that differ.
    """
    name = name or source.name
    if not NAME.fullmatch(name):
        raise ValueError(f"A served model's name has letters, digits and _ . - only. Received: {name!r}.")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1. Received: {top_k}.")
    if top_k is not None and source.features:
        raise ValueError(f"top_k is of classes, and {source.name} gives {', '.join(source.features)}. Leave it out.")
    refuse_pattern(output)
    expected = expected or (expect_features if source.features else parity.expect)(source)
    version = next_version(Path(output) / "models" / name)
    with atomic_folder(version) as temporary:
        signatures = save(source, temporary, top_k)
        operators.check(temporary)
        [outputs] = parity.replay_all([("saved_model", temporary)], expected)
        report = {
            "model": name,
            "version": int(version.name),
            **(check_saved_features if source.features else parity.check_saved_model)(outputs, expected, source),
            "signatures": signatures,
            "graph": operators.graph_report(temporary),
        }
        (temporary / REPORT).parent.mkdir()
        if index is not None:
            save_embeddings(temporary / INDEX, index)
        (temporary / REPORT).write_text(json.dumps(report, indent=2) + "\n")
        inputs = {signature: next(iter(ends["inputs"])) for signature, ends in signatures.items()}
        warmup.write_requests(temporary / warmup.PATH, name, inputs, source.spec.size, batch_sizes)
    return version, report, outputs


def save(source, path, top_k=None):
    """Write the SavedModel into the folder `path`, unchecked.

    Returns:
        {signature: {"inputs": {name: [type, shape]}, "outputs": {name: [type, shape]}}}, with None for B in a shape.

    Raises:
        OSError: if it cannot be written (a full disk).
    """
    with scratch_folder() as folder:
        assets = files.write_labels_and_spec(Path(folder), source)
        served = ServedFeatures(source, assets) if source.features else ServedModel(source, top_k, assets)
        signatures = {name: function.get_concrete_function() for name, function in served.signatures.items()}
        try:
            with temporaries_in(folder):
                tf.saved_model.save(served, str(path), signatures=signatures)
        except tf.errors.OpError as error:
            raise OSError(f"The SavedModel could not be written to {path}: {error.message}") from error
        return {name: _ends(function) for name, function in signatures.items()}


def _ends(function):
    """Names, types and shapes of a concrete function's inputs and outputs."""
    ends = {"inputs": {spec.name: spec for spec in function.structured_input_signature[0]}}
    ends["outputs"] = function.structured_outputs
    return {
        end: {name: [tensor.dtype.name, tensor.shape.as_list()] for name, tensor in tensors.items()}
        for end, tensors in ends.items()
    }


def next_version(folder):
    """The folder of the first version number above all present ones."""
    present = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []
    return folder / str(max(present, default=0) + 1)
