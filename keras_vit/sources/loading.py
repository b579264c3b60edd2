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
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from keras_vit.sources import library_folder, resolve
from keras_vit.sources.assigning import assign
from keras_vit.sources.keras_archive import load_keras_model, names_of_nan, warn_of_nan
from keras_vit.sources.run_folder import MODEL
from keras_vit.weights import catalogue, download, keras_file, readers, rules, wrappers
from keras_vit.weights.entries import Entries, Entry, WeightFileError

log = logging.getLogger("keras_vit")
KINDS = ("run", "keras", "library", "weights")  # of what may hold a model's weights
SHOWN = 10  # entries of each kind that an error lists


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
    return WeightFile(path, readers.read(path), row, row.size if row else _size_beside(Path(path)))


def _size_beside(path):
    """(H, W) of the images that the config.json of another library beside a file states; None without one."""
    try:
        found = library_folder.is_library_folder(path.parent)
        return library_folder.open_folder(path.parent).image_size if found else None
    except ValueError:  # the file was asked for, whatever lies beside it
        return None


def _numbers(variable):
    return keras.ops.convert_to_numpy(variable)


def _image_size(model):
    """(H, W) of the images that a model keeps its positions for; None where that is not known."""
    inputs = getattr(model, "inputs", None) or ()
    size = tuple(inputs[0].shape[1:3]) if len(inputs) == 1 and len(inputs[0].shape) == 4 else ()
    for layer in getattr(model, "layers", ()):
        if layer.name == "image_size":
            size = layer.native_size or tuple(layer.output.shape[1:3])
    return size if len(size) == 2 and all(size) else None


def native_size(source, family, config):
    """(H, W) in pixels of the images that a file's positions are kept for; None where it does not say.

    A square table says it, times the patches' size.
    """
    if source.size or source.entries is None:
        return source.size
    entries = wrappers.likeliest(source.entries, family.layouts)
    stride, shapes = family.sides(config).multiple, entries.shapes()
    for layout in (*family.layouts, rules.own_layout(("positions/table",))):
        found = rules.match(layout, shapes).assignments.get("positions/table")
        shape = shapes[found.names[0]] if found else ()
        for count in range(shape[1] - 2, shape[1] + 1) if len(shape) == 3 else ():
            if count > 0 and math.isqrt(count) ** 2 == count and stride > 1:
                return (math.isqrt(count) * stride,) * 2
    return None


def _file_at(weights):
    """The weight file at a path; None for what can only be a tag."""
    found = resolve.at_path(weights)
    if found is not None and found.kind in KINDS:
        path = found.path / MODEL if found.kind == "run" else found.path
        path = library_folder.open_folder(path).weights if found.kind == "library" else path
        if path.is_file():
            return path
    if found is None and Path(weights).is_file():
        return Path(weights)  # the reader decides by the content, not by the name
    if found is None and not resolve.is_path(weights):
        return None
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
    source, chosen = _unwrapped(source, family, variables)
    found = chosen.match

    def in_head(target):
        return target.split("/")[0] in family.head

    assignments, expected = found.assignments, set(variables)
    body = {target: a for target, a in assignments.items() if not in_head(target)}
    body_expected = {path for path in expected if not in_head(path)}
    if not body_expected <= set(body):  # another file altogether: what it has of a classifier does not matter
        _require_names(source, chosen, body, body_expected)
    if not _keep_head(source, found, f"{family.head[0]}/bias", include_top, classes):
        assignments, expected = body, body_expected
    _require_names(source, chosen, assignments, expected)
    assign(model, source, found.layout, assignments, variables, family)


def _unwrapped(source, family, variables):
    """The source without what training scripts put around weights, and how it matches the model, a `Chosen`."""
    moved = {pattern for layout in (family, *family.layouts) for pattern in layout.resamplers}
    chosen = wrappers.choose(
        source.entries,
        family.layouts,
        {path: tuple(variable.shape) for path, variable in variables.items()},
        family.head,
        movable=lambda path: any(fnmatch.fnmatchcase(path, pattern) for pattern in moved),
    )
    if chosen.beside:
        log.warning(
            "%s: the moving average of the weights is loaded (%s), not the weights beside it (%s)",
            source.path,
            chosen.reading,
            ", ".join(map(repr, chosen.beside)),
        )
    elif chosen.average:
        log.warning("%s: a moving average in it (%s) does not fit; it is left out", source.path, chosen.average)
    elif f"{chosen.reading}":
        log.info("%s: read with %s", source.path, chosen.reading)
    return replace(source, entries=chosen.entries), chosen


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


def _require_names(source, chosen, assignments, expected):
    """Raise unless the assignments are exactly the expected variables and no entry is left over."""
    found = chosen.match
    missing = sorted(expected - set(assignments))
    surplus = sorted(set(assignments) - expected)
    unexpected = [*found.unexpected, *(name for target in surplus for name in assignments[target].names)]
    if not missing and not unexpected:
        return
    unexpected = [chosen.reading.names[name] for name in unexpected]
    lines = _some("+ unexpected", unexpected) + _some("- missing", missing)
    taken_off = f", with {chosen.reading}" if f"{chosen.reading}" else ""
    raise ValueError(
        f"{source.path}: not the weights of this model. Closest is the {found.layout.name} layout{taken_off}: "
        f"{len(unexpected)} entries without a variable, {len(missing)} variables without an entry. "
        f"Expected a file of the same variant.{_if_checkpoint((*unexpected, *chosen.left_out))}\n" + "\n".join(lines)
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
    lines = _some("+ unexpected, of shape", unexpected) + _some("- missing, of shape", missing)
    return (
        "A .weights.h5 file has no names of variables, and fits only the same variant, input size and number of "
        "classes; to change those, start from a .keras or .safetensors file. "
        f"{len(unexpected)} arrays without a variable, {len(missing)} variables without an array of their shape:\n"
        + "\n".join(lines)
    )
