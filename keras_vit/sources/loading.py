"""From `weights=` to a model that has them: finding the file, checking it against the model, assigning.

How a file was adapted to a model (a new head, resampled positions, an adapted stem) goes to the logger `keras_vit`; all
entries that do not fit are listed in one ValueError.
"""

import fnmatch
import functools
import logging
import math
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_vit.sources import resolve
from keras_vit.sources.keras_archive import is_finite, load_keras_model, names_of_nan, warn_of_nan
from keras_vit.sources.run_folder import MODEL
from keras_vit.system.limits import MAX_RESAMPLED
from keras_vit.weights import catalogue, download, keras_file, readers, rules
from keras_vit.weights.entries import Entries, Entry, WeightFileError

log = logging.getLogger("keras_vit")
KINDS = ("run", "keras", "weights")  # of what may hold a model's weights
SHOWN = 10  # entries of each kind that an error lists
STRIP = 64  # columns that are copied at once


@dataclass(frozen=True)
class WeightFile:
    """An open weight file: its path, its entries, and, where known, its catalogue row and image size."""

    path: str
    entries: Entries | None  # None: Keras' own .weights.h5, which Keras itself loads
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
    if path.endswith(".weights.h5") and keras_file.is_keras(path):
        return WeightFile(path, None, row)
    if path.endswith(".keras"):
        model = load_keras_model(path)
        entries = {v.path: Entry(tuple(v.shape), functools.partial(_numbers, v)) for v in model.weights}
        return WeightFile(path, Entries(path, entries), row, _image_size(model))
    return WeightFile(path, readers.read(path), row)


def _numbers(variable):
    return keras.ops.convert_to_numpy(variable)


def _image_size(model):
    """(H, W) of a model's images; None where it does not take images of one size."""
    inputs = getattr(model, "inputs", None) or ()
    size = tuple(inputs[0].shape[1:3]) if len(inputs) == 1 and len(inputs[0].shape) == 4 else ()
    return size if len(size) == 2 and all(size) else None


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
        f"{_what_is_there(Path(weights), found)}"
    )


def _what_is_there(path, found):
    """What lies at a path that holds no weights, in words."""
    if found is not None and found.kind != "run":
        return f", which is {resolve.KINDS[found.kind]}"
    if not path.is_dir():
        return ""
    inside = sorted(file for file in path.iterdir() if file.name.lower().endswith((*resolve.WEIGHT_SUFFIXES, ".keras")))
    named = f"; name one of {', '.join(map(str, inside[:5]))}" if inside else ", which has none of them"
    return f", a folder{named}"


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
    body = {target: a for target, a in assignments.items() if not in_head(target)}
    body_expected = {path for path in expected if not in_head(path)}
    if not body_expected <= set(body):  # another file altogether: what it has of a classifier does not matter
        _require_names(source, found, body, body_expected)
    if not _keep_head(source, found, f"{family.head[0]}/bias", include_top, classes):
        assignments, expected = body, body_expected
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
    stored = math.prod(source.entries.shapes()[found.assignments[bias].names[0]])
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
    lines = _some("- missing", missing) + _some("+ unexpected", unexpected)
    raise ValueError(
        f"{source.path}: not the weights of this model (read as the {found.layout.name} layout): "
        f"{len(missing)} variables without an entry, {len(unexpected)} entries without a variable. "
        f"Expected a file of the same variant.{_if_checkpoint(unexpected)}\n" + "\n".join(lines)
    )


def _some(what, names):
    """Lines for the first names, and how many more there are: of every kind, so that none hides another."""
    more = [f"{what}: ... and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return [f"{what}: {name}" for name in names[:SHOWN]] + more


def _if_checkpoint(unexpected):
    """A hint for files of this library's trainer, or of another, that hold an optimizer too."""
    if any(name.startswith("optimizer/") for name in unexpected):
        return " The file is a checkpoint of training; give the run folder, whose model.keras has the best weights."
    return ""


def _assign(model, source, layout, assignments, variables, family):
    sizes, wrong, resampled, odd = (model.inputs[0].shape[1:3], source.size), [], [], []
    shapes, resamplers = source.entries.shapes(), (*layout.resamplers.items(), *family.resamplers.items())
    for target, assignment in assignments.items():
        variable, names = variables[target], ", ".join(assignment.names)
        shape = tuple(variable.shape)
        try:
            array, stored = _array(source.entries, shapes, assignment, shape, _resampler(target, resamplers), sizes)
        except _MisfitError as misfit:
            wrong.append(f"~ {names}: {misfit} for {target} {shape}")
            continue
        wrong += _differing_duplicates(source.entries, shapes, assignment)
        if stored is not None:
            resampled.append(f"{target} {stored} -> {shape}")
        if not is_finite(array):
            odd.append(names)
        variable.assign(array)
    if wrong:
        more = [f"~ ... and {len(wrong) - 2 * SHOWN} more"] if len(wrong) > 2 * SHOWN else []
        raise WeightFileError(
            f"{source.path}: {len(wrong)} entries do not fit the model:\n" + "\n".join(wrong[: 2 * SHOWN] + more)
        )
    if resampled:
        log.warning("%s: resampled for this input: %s", source.path, "; ".join(resampled))
    warn_of_nan(source.path, odd)


def _resampler(target, resamplers):
    """The first resampler whose pattern fits the path of a variable; None if none does."""
    return next((function for pattern, function in resamplers if fnmatch.fnmatchcase(target, pattern)), None)


class _MisfitError(Exception):
    """Entries that do not fit a variable, by their shapes."""


def _array(entries, shapes, assignment, shape, resampler, sizes):
    """The numbers of a variable.

    Shapes are compared before anything is read: rearranging keeps the count of numbers, and only what can be resampled
    may have another one.

    Returns:
        (a float32 array of `shape`, the shape before it was resampled or None).
    Raises:
        _MisfitError: with the shapes that do not fit.
    """
    transform = assignment.rule.transform
    stored = [shapes[name] for name in assignment.names]
    count, before = sum(map(math.prod, stored)), None
    if count != math.prod(shape):
        before = _transformed_shape(transform, stored)
        alike = len(before) == len(shape) and before[-1:] == shape[-1:] or len(before) == len(shape) == 1
        if resampler is None or not alike or not 0 < count <= MAX_RESAMPLED:
            raise _MisfitError(f"{before}")
    arrays = [entries[name] for name in assignment.names]
    if any(array.dtype.kind not in "biuf" for array in arrays):
        raise _MisfitError(", ".join(f"{array.dtype}" for array in arrays))
    with np.errstate(all="ignore"):  # of numbers that are not finite, which is said once
        try:
            array = transform(*arrays)
            if array.shape != shape and resampler is not None and array.ndim == len(shape):
                before, array = array.shape, resampler(array, shape, *sizes)
        except (ValueError, IndexError, ArithmeticError) as error:  # an axis is missing, or there is one too many
            raise _MisfitError(", ".join(map(str, stored))) from error
        if array.shape != shape:
            raise _MisfitError(f"{array.shape}")
        return _contiguous(array), before


def _transformed_shape(transform, shapes):
    """The shape of what a rule makes of arrays of these shapes, found with arrays that need no memory."""
    try:
        return transform(*(np.broadcast_to(np.float32(0), shape) for shape in shapes)).shape
    except (ValueError, IndexError) as error:
        raise _MisfitError(", ".join(map(str, shapes))) from error


def _differing_duplicates(entries, shapes, assignment):
    """What is wrong with entries that the model has once and the file several times."""
    first = assignment.names[0]
    return [
        f"~ {name}: one tensor with {first} in the model, but values differ"
        for name in assignment.duplicates
        if shapes[name] != shapes[first] or not np.array_equal(entries[name], entries[first])
    ]


def _contiguous(array):
    """In float32, as a variable takes it; a transposed matrix is copied in strips, which takes half the time."""
    if array.ndim != 2 or array.flags.c_contiguous:
        return np.ascontiguousarray(array, dtype="float32")
    copy = np.empty(array.shape, "float32")
    for start in range(0, array.shape[1], STRIP):
        copy[:, start : start + STRIP] = array[:, start : start + STRIP]
    return copy


def _load_keras_h5(model, path):
    """Keras' own weight format matches layers by their order: same variant, same size, same head, or an error."""
    try:
        keras_file.check_sizes(path)
    except WeightFileError as error:
        if explained := keras_file.explain(path):
            raise WeightFileError(f"{path}: not the weights of this model. {explained}") from error
        raise
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns where it leaves something out
            model.load_weights(path)
    except Exception as error:
        why = _why_not(model, path) or f"Keras: {type(error).__name__}: {str(error)[:500]}"
        raise WeightFileError(f"{path}: not the weights of this model. {why}") from error
    warn_of_nan(path, names_of_nan(model))


def _why_not(model, path):
    """What a .weights.h5 file holds that the model does not, and the other way round; None where that is not it."""
    try:
        stored = Counter(keras_file.shapes(path))
    except Exception:  # damaged, for which h5py has errors of many kinds
        stored = Counter()
    if not stored:
        return keras_file.explain(path)
    needed = Counter(tuple(variable.shape) for variable in model.variables)
    missing, unexpected = (sorted(map(str, rest.elements())) for rest in (needed - stored, stored - needed))
    if not missing and not unexpected:
        return None
    lines = _some("- missing, of shape", missing) + _some("+ unexpected, of shape", unexpected)
    return (
        "A .weights.h5 file has no names of variables, and fits only the same variant, input size and number of "
        "classes; to change those, start from a .keras or .safetensors file. "
        f"{len(missing)} variables without an array of their shape, {len(unexpected)} arrays without a variable:\n"
        + "\n".join(lines)
    )
