"""A data set as a CSV file, of one class or several per image, as `keras_vit.images.manifest` describes it.

Its column `split` says train, val or test, or another name of these; without it, the images are divided as those of a
folder are (see folders.py).
"""

import difflib

import numpy as np

from keras_vit.images.manifest import read_manifest
from keras_vit.images.names import printable
from keras_vit.images.split_names import IN_WORDS, SPLITS, split_of
from keras_vit.system import places
from keras_vit.training.datasets.splits import Split, assemble


def load(path, seed=0):
    """Read the manifest; the images themselves are not read.

    Classes are numbered in the order of their columns, if they have columns; else in that of their names, or of their
    values if all names are numbers.

    Returns:
        A splits.DataSet; its labels are those of several classes per image if the manifest is one of these.
    Raises:
        ValueError: if an entry is missing, unknown or given twice (the message names its line), if there are fewer than
            two classes, or if train lacks a class of another split.
    """
    path = places.absolute(path)
    if not places.is_file(path):
        raise ValueError(f'dataset="csv" takes the path of a CSV file as data_dir. There is no file {path}.')
    found = _read(path)
    rows_by_split, notes, written = {}, {}, {}
    for row in found.rows:
        for label, as_written in zip(row.labels, row.written):
            written.setdefault(label, as_written)
        rows_by_split.setdefault(_split_of(row), []).append(row)
        if row.split is not None:
            notes.setdefault(row.split, IN_WORDS[_split_of(row)])
    labels = {split: {label for row in rows for label in row.labels} for split, rows in rows_by_split.items()}
    classes = _classes(path, labels, found.classes)
    classes = found.classes or tuple(sorted(classes, key=_order(written)))
    splits = {split: _split(rows, classes, found.multi_label) for split, rows in rows_by_split.items()}
    told = ", ".join(f"{name} is {split}" for name, split in notes.items())
    return assemble(places.stem(path), classes, splits, seed, {"splits": told} if told else {})


def list_files(path):
    """List the files, and count those of every class.

    Returns:
        (the paths, in the order of the lines; {split: {class: how many it has}}, with the split "all" if there is no
        such column).
    Raises:
        ValueError: if a line or the header is invalid, as in `load`.
    """
    found = _read(places.absolute(path))
    counts = {}
    for row in found.rows:
        of_split = counts.setdefault(_split_of(row), dict.fromkeys(found.classes or (), 0))
        for label in row.labels:
            of_split[label] = of_split.get(label, 0) + 1
    return [row.path for row in found.rows], counts


def _split(rows, classes, multi_label):
    """The rows as a `Split`, with a number per image, or 0 and 1 per class."""
    number, names = {name: i for i, name in enumerate(classes)}, tuple(row.path for row in rows)
    if not multi_label:
        return Split(names, np.array([number[row.labels[0]] for row in rows], "int32"))
    labels = np.zeros((len(rows), len(classes)), "uint8")
    for i, row in enumerate(rows):
        labels[i, [number[label] for label in row.labels]] = 1
    return Split(names, labels)


def _split_of(row):
    """train, val or test; "all" where the manifest has no splits."""
    return "all" if row.split is None else split_of(row.split)


def _read(path):
    """The manifest; a ValueError for an unknown split, and for an image that is named twice."""
    manifest, seen = read_manifest(path), {}
    for row in manifest.rows:
        if row.split is not None and not split_of(row.split):
            raise ValueError(
                f"{path}, line {row.line}: split must be one of {', '.join(SPLITS)}, or another name of these "
                f"(training, validation, dev, ...). Received: {row.split!r}."
            )
        if row.path in seen:
            raise ValueError(
                f"{path}: lines {seen[row.path]} and {row.line} name the same image, {printable(row.path)}. Remove one "
                "of them."
            )
        seen[row.path] = row.line
    return manifest


def _classes(path, labels, columns):
    """The names of the classes, from {split: its set of labels} and, if they have columns, these."""
    if not labels.keys() & {"all", "train"}:
        raise ValueError(f"{path} has no image {'of split train' if labels else 'at all'}.")
    classes = set(columns or labels.get("train", labels.get("all")))
    for split, names in labels.items():
        unknown = sorted(names - classes)
        if unknown:
            close = difflib.get_close_matches(unknown[0], classes, n=1)
            more = f", nor {len(unknown) - 1} more of its labels" if len(unknown) > 1 else ""
            raise ValueError(
                f"{path}: no image of split train has the label {unknown[0]!r}, which one of {split} has{more}."
                f"{f' Closest: {close[0]!r}.' if close else ''}"
            )
    if len(classes) < 2:
        raise ValueError(f"A data set needs two classes or more. {path} has {len(classes)}: {sorted(classes)}.")
    return classes


def _order(written):
    """The key that sorts classes: by value if all names are numbers, else by the names as the file has them."""
    if all(name.isdecimal() for name in written):
        return lambda name: (int(name), name)
    return written.get
