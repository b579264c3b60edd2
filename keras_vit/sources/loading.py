"""From `weights=` to a model that has them: finding the file, checking it against the model, assigning.

How a file was adapted to a model (a new head, resampled positions, an adapted stem) goes to the logger `keras_vit`; all
entries that do not fit are listed in one ValueError.
"""

import fnmatch
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

import keras
import numpy as np

from keras_vit.sources import resolve
from keras_vit.sources.run_folder import MODEL, load_keras_model
from keras_vit.weights import catalogue, download, readers, rules

log = logging.getLogger("keras_vit")
KINDS = ("run", "keras", "weights")  # of what may hold a model's weights


@dataclass(frozen=True)
class WeightFile:
    """An open weight file: its path, its entries, and, where known, its catalogue row and image size."""

    path: str
    entries: Mapping[str, np.ndarray] | None  # None: Keras' own .weights.h5, which Keras itself loads
    row: catalogue.Row | None = None
    size: tuple[int, int] | None = None  # (H, W) of its model's images in pixels, where the file states it


def find_source(constructor, weights, classes, include_top):
    """Resolve the argument `weights` of a constructor.

    Args:
        constructor: public name, e.g. "SwinT".
        weights: None, "imagenet", a tag of the catalogue, or the path of a file or run folder.
        classes, include_top: the constructor's arguments; a 21k tag with the default 1000 classes is an error here,
            before anything is downloaded.

    Returns:
        (path, None) for a file, (None, row) for a row of the catalogue, (None, None) for no weights.

    Raises:
        ValueError: for an unknown tag, a path without weights, and a tag that does not fit `classes`.
    """
    if weights is None:
        return None, None
    if weights != "imagenet" and weights not in catalogue.tags(constructor):
        path = _file_at(weights)
        if path is not None:
            return str(path), None
    row = catalogue.default(constructor) if weights == "imagenet" else catalogue.find(constructor, weights)
    _check_classes(row, classes, include_top)
    return None, row


def open_source(path, row, classes, include_top):
    """Fetch a weight file, if it is a catalogue row's, and open it."""
    if row is not None:
        # The hub's copies of the original 21k models lost their heads; the official npz files have them.
        path = str(download.fetch(row, official=include_top and row.classes == 0 and classes == 21843))
    if path.endswith(".weights.h5"):
        return WeightFile(path, None, row)
    if path.endswith(".keras"):
        model = load_keras_model(path)
        entries = {v.path: keras.ops.convert_to_numpy(v) for v in model.weights}
        return WeightFile(path, entries, row, model.inputs[0].shape[1:3])
    return WeightFile(path, readers.read(path), row)


def _file_at(weights):
    """The weight file at a path; None for what can only be a tag."""
    found = resolve.at_path(weights)
    if found is not None and found.kind in KINDS:
        path = found.path / MODEL if found.kind == "run" else found.path
        if path.is_file():
            return path
    if found is None and not resolve.is_path(weights):
        return None
    if found is None and Path(weights).is_file():
        return Path(weights)  # the reader decides by the content, not by the name
    raise ValueError(
        f"weights: no such file or run folder. Expected {resolve.expected(KINDS)}. Received: weights={str(weights)!r}"
    )


def _check_classes(row, classes, include_top):
    name = f"{row.constructor}, weights={row.tag!r}"
    if include_top and row.classes == 0 and not (classes == 21843 and row.url.endswith(".npz")):
        if classes == 1000:
            raise ValueError(
                f"{name}: these weights have no classifier. Pass include_top=False, or the number of "
                "classes of your own for a new head."
            )
    elif include_top and classes == 1000 and row.classes != 1000:
        raise ValueError(
            f"{name}: the classifier of these weights has {row.classes} classes. Pass classes={row.classes} to keep "
            "it, include_top=False to leave it out, or the number of classes of your own for a new head. "
            "Received: classes=1000"
        )


def load(model, source, family, include_top, classes):
    """Assign the entries of `source` to `model`, every one of both exactly once.

    Args:
        model: a freshly built model; its weights are undefined if this raises.
        source: a `WeightFile`.
        family: the family's `layouts`, `resamplers` and `head` (names of the classifier's layers).
        include_top, classes: the constructor's arguments.

    Raises:
        ValueError: listing missing variables, unexpected entries and shapes that do not fit.
    """
    if source.entries is None:
        _load_keras_h5(model, source.path)
        return
    variables = {variable.path: variable for variable in model.weights}
    layouts = (*family.layouts, rules.own_layout(variables))
    found = rules.best_match(layouts, source.entries.keys(), variables)

    def in_head(target):
        return target.split("/")[0] in family.head

    assignments, expected = found.assignments, set(variables)
    if not _keep_head(source, found, f"{family.head[0]}/bias", include_top, classes):
        assignments = {target: a for target, a in assignments.items() if not in_head(target)}
        expected = {path for path in expected if not in_head(path)}
    _require_names(source, found, assignments, expected)
    _assign(model, source, found.layout, assignments, variables, family)


def _keep_head(source, found, bias, include_top, classes):
    """Whether the model takes the file's classifier; logs a warning where it gets a new one instead."""
    if not include_top:
        return False
    if bias not in found.assignments:
        if classes == 1000:
            raise ValueError(
                f"{source.path}: this file has no classifier. Pass include_top=False, or the number of classes of "
                "your own for a new head."
            )
        log.warning("%s has no classifier: the head with %d classes is new", source.path, classes)
        return False
    stored = len(source.entries[found.assignments[bias].names[0]])
    if stored != classes and classes == 1000:
        raise ValueError(
            f"{source.path}: the classifier of this file has {stored} classes. Pass classes={stored} to keep it, "
            "include_top=False to leave it out, or the number of classes of your own for a new head. "
            "Received: classes=1000"
        )
    if stored != classes:
        log.warning("%s: its head for %d classes is left out, the one with %d is new", source.path, stored, classes)
    return stored == classes


def _require_names(source, found, assignments, expected):
    """Raise unless the assignments are exactly the expected variables and no entry is left over."""
    missing = sorted(expected - set(assignments))
    surplus = sorted(set(assignments) - expected)
    unexpected = [*found.unexpected, *(name for target in surplus for name in assignments[target].names)]
    if not missing and not unexpected:
        return
    lines = [f"- missing: {path}" for path in missing] + [f"+ unexpected: {name}" for name in unexpected]
    more = [f"... and {len(lines) - 20} more"] if len(lines) > 20 else []
    raise ValueError(
        f"{source.path}: not the weights of this model (read as the {found.layout.name} layout): "
        f"{len(missing)} variables without an entry, {len(unexpected)} entries without a variable. "
        "Expected a file of the same variant.\n" + "\n".join(lines[:20] + more)
    )


def _assign(model, source, layout, assignments, variables, family):
    sizes, wrong, resampled = (model.inputs[0].shape[1:3], source.size), [], []
    for target, assignment in assignments.items():
        variable = variables[target]
        arrays = [source.entries[name] for name in assignment.names]
        for name in assignment.duplicates:
            if not np.array_equal(source.entries[name], arrays[0]):
                wrong.append(f"~ {name}: one tensor with {assignment.names[0]} in the model, but values differ")
        array = assignment.rule.transform(*arrays)
        shape = tuple(variable.shape)
        if array.shape != shape:
            array, stored = _resample(array, target, shape, sizes, layout, family), array.shape
            resampled.append(f"{target} {stored} -> {shape}")
        if array.shape != shape:
            wrong.append(f"~ {', '.join(assignment.names)}: {array.shape} for {target} {shape}")
            continue
        variable.assign(np.ascontiguousarray(array, dtype="float32"))
    if wrong:
        raise ValueError(f"{source.path}: these entries do not fit the model:\n" + "\n".join(wrong[:20]))
    if resampled:
        log.warning("%s: resampled for this input: %s", source.path, "; ".join(resampled))


def _resample(array, target, shape, sizes, layout, family):
    for pattern, function in (*layout.resamplers.items(), *family.resamplers.items()):
        if fnmatch.fnmatchcase(target, pattern) and array.ndim == len(shape):
            return function(array, shape, *sizes)
    return array


def _load_keras_h5(model, path):
    """Keras' own weight format matches layers by their order: same variant, same size, same head, or an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns where it leaves something out
            model.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise ValueError(
            f"{path}: not the weights of this model. A .weights.h5 file fits only the same variant, input size and "
            f"number of classes; to change those, start from a .keras or .safetensors file. Keras: {error}"
        ) from error
