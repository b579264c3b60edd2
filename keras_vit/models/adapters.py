"""LoRA's adapters -- Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685.

A matrix W (C, D) of a model is adapted by adding a product of two thin ones (Sec. 4.1, Eq. 3),

    W + alpha / r  A B,      A (C, r), B (r, D)

so that a fine-tuned model is the published weights and a small file: A and B of every adapted matrix, and the
classifier. Training writes it into its run folder; here it is read, and added to the weights of a model.

    adapter.safetensors    block0/attn/qkv/lora_a, block0/attn/qkv/lora_b, ..., head/kernel, head/bias, and in the
                           metadata, as JSON: the model and the weights that it belongs to, r, alpha, the names of the
                           classes, and the SHA-256 of the matrices before they were adapted

Letters: C, D a matrix's rows and columns, r the rank.
"""

import hashlib
import json
import pathlib

import keras
import numpy as np

from keras_vit.sources.resolve import SourceNotFoundError
from keras_vit.weights import readers, writing
from keras_vit.weights.entries import WeightFileError

ADAPTER = "adapter.safetensors"
FACTORS = ("lora_a", "lora_b")
KEY = "keras_vit_adapter"  # of the metadata
FIELDS = {"model": str, "weights": str, "rank": int, "alpha": (int, float), "classes": list, "base_sha256": str}


def write_adapter(path, adapted, head, description):
    """Write an adapter; the same is the same file, byte by byte.

    Args:
        path: of the file.
        adapted: {path of a matrix's variable: (its float32 values before, A, B)}.
        head: {path of a variable of the classifier: array}.
        description: the entries of `FIELDS` but for base_sha256.
    """
    arrays = {f"{_layer(name)}/{part}": x for name, (_, *ab) in adapted.items() for part, x in zip(FACTORS, ab)}
    digest = fingerprint({name: before for name, (before, *_) in adapted.items()})
    text = json.dumps(description | {"base_sha256": digest}, ensure_ascii=False, sort_keys=True)
    writing.write_safetensors(path, arrays | head, {KEY: text})


def replace_head(path, model):
    """Give an adapter the classifier of a model, which has changed since the adapter was written."""
    entries, variables = readers.read(path), {variable.path: variable for variable in model.variables}
    arrays = {name: entries[name] if _is_factor(name) else _numbers(variables[name]) for name in entries}
    writing.write_safetensors(path, arrays, readers.safetensors_metadata(path))


def load_adapter(model, path):
    """Add an adapter to the weights of a model, which then is what the run of the adapter saved.

    Args:
        model: a model of this library with the weights that the adapter was trained on. Its classifier, of as many
            classes as the adapter has, gets the adapter's; a model without a classifier stays without.
        path: of the file, or of the run folder that has it.

    Returns:
        The model.

    Raises:
        ValueError: if the file is no adapter, if the model is another, if its weights are others than those that the
            adapter was trained on (or have been adapted before), and for another number of classes.
    """
    path = _file(path)
    description, entries = _description(path), readers.read(path)
    variables = {variable.path: variable for variable in model.variables}
    matrices = {f"{_layer(name)}/kernel" for name in entries if _is_factor(name)}
    _require_matrices(path, description, model, variables, matrices)
    head = _head(path, description, model, variables, entries)
    _require_base(path, description, model, {name: _numbers(variables[name]) for name in matrices})
    rank, values = description["rank"], {name: entries[name] for name in head}
    for name in matrices:
        a, b = (_factor(path, entries, variables[name], name, part, rank) for part in FACTORS)
        values[name] = added(_numbers(variables[name]), a, b, description["alpha"] / rank)
    for name, value in values.items():  # all of them are right
        variables[name].assign(value)
    return model


def added(matrix, a, b, scale):
    """matrix + scale A B, (C, D) in float32; the product is formed in float64."""
    return (matrix + scale * (a.astype("float64") @ b.astype("float64"))).astype("float32")


def fingerprint(matrices):
    """SHA-256 of {name: matrix}, whatever their order."""
    digest = hashlib.sha256()
    for name, matrix in sorted(matrices.items()):
        digest.update(f"{name}\0{matrix.shape}\0".encode())
        digest.update(np.ascontiguousarray(matrix, "<f4").tobytes())
    return digest.hexdigest()


def _file(path):
    path = pathlib.Path(path)
    path = path / ADAPTER if path.is_dir() else path
    if not path.is_file():
        raise SourceNotFoundError(
            f"load_adapter: {path} does not exist. Expected an {ADAPTER}, or a run folder with one, as "
            "`keras-vit train --lora-rank` leaves it."
        )
    return path


def _description(path):
    """What the metadata of an adapter say."""
    text = readers.safetensors_metadata(path).get(KEY)
    try:
        found = json.loads(text)
        fits = all(isinstance(found.get(name), kind) for name, kind in FIELDS.items()) and found["rank"] > 0
    except (TypeError, ValueError, AttributeError):
        fits = False
    if not fits:
        raise WeightFileError(
            f"load_adapter: {path} is no adapter of this library: it does not say which weights it belongs to. "
            f"Expected an {ADAPTER} of a run with lora_rank; a file of whole weights goes to a constructor as weights=."
        )
    return found


def _require_matrices(path, description, model, variables, matrices):
    missing = sorted(matrices - set(variables))
    if missing or not matrices:
        raise WeightFileError(
            f"load_adapter: {path} is an adapter of {description['model']}. Received: {model.name!r}, which has no "
            f"{', '.join(missing[:3]) or 'matrix that it adapts'}. Build {description['model']} and load it there."
        )


def _require_base(path, description, model, matrices):
    if fingerprint(matrices) != description["base_sha256"]:
        raise WeightFileError(
            f"load_adapter: {path} was trained on {description['model']} with weights={description['weights']!r}. "
            f"{model.name!r} has other weights, or has an adapter already. Build it anew with those weights."
        )


def _head(path, description, model, variables, entries):
    """The names of the classifier's entries; none for a model without a classifier."""
    names = [name for name in entries if not _is_factor(name)]
    if not any(name in variables for name in names):
        return []
    for name in names:
        if name not in variables or tuple(variables[name].shape) != entries.shapes()[name]:
            raise WeightFileError(
                f"load_adapter: {path} has a classifier of {len(description['classes'])} classes, {name} "
                f"{entries.shapes()[name]}. {model.name!r} has another. Build it with "
                f"classes={len(description['classes'])}, or with include_top=False."
            )
    return names


def _factor(path, entries, variable, name, part, rank):
    """A or B of a matrix."""
    entry, (rows, columns) = f"{_layer(name)}/{part}", variable.shape
    expected = (rows, rank) if part == FACTORS[0] else (rank, columns)
    found = entries.shapes().get(entry)
    if found != expected:
        raise WeightFileError(f"load_adapter: {path}: expected {entry} of the shape {expected}. Received: {found}.")
    return entries[entry]


def _numbers(variable):
    return keras.ops.convert_to_numpy(variable.value).astype("float32")


def _layer(name):
    return name.rpartition("/")[0]


def _is_factor(name):
    return name.rpartition("/")[2] in FACTORS
