"""From the entries of a file to the variables of a model: rearranged, resampled for another input size, in float32.

Shapes are compared before anything is read; all entries that do not fit are listed in one error.
"""

import fnmatch
import logging
import math

import numpy as np

from keras_vit.sources.keras_archive import is_finite, warn_of_nan
from keras_vit.system.limits import MAX_RESAMPLED
from keras_vit.weights.entries import WeightFileError
from keras_vit.weights.resample import Positions

log = logging.getLogger("keras_vit")
SHOWN = 20  # entries that an error lists
STRIP = 64  # columns that are copied at once


def assign(model, source, layout, assignments, variables, family):
    """Assign the entries of a file to the variables of a model, resampled where the family can do that.

    Args:
        model: whose images have a size.
        source: a `keras_vit.sources.loading.WeightFile`.
        layout: that the file has.
        assignments: {path of a variable: `Assignment`}.
        variables: {path: variable} of the model.
        family: of the model.

    Raises:
        WeightFileError: that lists entries that do not fit by their shapes or kinds of numbers.
    """
    wrong, resampled, odd, grids = [], [], [], {layer.name: getattr(layer, "grid", None) for layer in model.layers}
    shapes, resamplers = source.entries.shapes(), (*layout.resamplers.items(), *family.resamplers.items())
    follow_resamplers(model, dict(reversed(resamplers)))
    for target, assignment in assignments.items():
        variable, names = variables[target], ", ".join(assignment.names)
        shape = tuple(variable.shape)
        sizes = (grids[target.split("/")[0]], source.size)
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
        more = [f"~ ... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise WeightFileError(
            f"{source.path}: {len(wrong)} entries do not fit the model:\n" + "\n".join(wrong[:SHOWN] + more)
        )
    if resampled:
        log.warning("%s: resampled for this input: %s", source.path, "; ".join(resampled))
    warn_of_nan(source.path, odd)


def follow_resamplers(model, resamplers):
    """Makes layers that keep a grid resample it, for images of another size, as the files do that it may come from.

    Args:
        resamplers: {pattern of a variable's path: function}.
    """
    followers = [layer for layer in model.layers if hasattr(layer, "follow")]
    for layer in followers:
        for pattern, resampler in resamplers.items():
            if isinstance(resampler, Positions) and fnmatch.fnmatchcase(f"{layer.name}/table", pattern):
                layer.follow(resampler)


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
        made = _transformed_shape(transform, stored)
        alike = len(made) == len(shape) and made[-1:] == shape[-1:] or len(made) == len(shape) == 1
        if (made != shape and (resampler is None or not alike)) or not 0 < count <= MAX_RESAMPLED:
            raise _MisfitError(f"{made}")
        before = made if made != shape else None
    arrays = [entries[name] for name in assignment.names]
    if any(array.dtype.kind not in "biuf" for array in arrays):
        raise _MisfitError(", ".join(f"{array.dtype}" for array in arrays))
    with np.errstate(all="ignore"):  # of numbers that are not finite, which is said once
        try:
            array = transform(*arrays)
            if array.shape != shape and _is_flat(stored, shape):
                array = arrays[0].reshape(shape)
            if resampler is not None and array.ndim == len(shape) and _moves(resampler, array.shape, shape, sizes):
                before, array = array.shape, resampler(array, shape, *sizes)
        except (ValueError, IndexError, ArithmeticError) as error:  # an axis is missing, or there is one too many
            raise _MisfitError(", ".join(map(str, stored))) from error
        if array.shape != shape:
            raise _MisfitError(f"{array.shape}")
        return _contiguous(array), before


def _moves(resampler, stored, shape, sizes):
    """Whether an array is resampled: it has another shape, or as many positions, known to be of another grid."""
    return stored != shape or isinstance(resampler, Positions) and resampler.moves(shape, *sizes)


def _is_flat(stored, shape):
    """Whether a file has a table of the same grid, row after row, whose sides cannot be told from their product.

    As in timm and in PVT's code, a table of as many positions is taken as it is.
    """
    same_ends = len(stored) == 1 and len(stored[0]) == len(shape) - 1 and stored[0][-1:] == shape[-1:]
    return same_ends and len(shape) in (3, 4) and math.prod(stored[0]) == math.prod(shape)


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
