"""A data set as a CSV file: one image per line, with its path, the name of its class and, optionally, its split.

path,label,split
cats/1.jpg,cat,train
/other/disk/7.png,dog,val

A relative path is relative to the CSV file's folder. `split` is train, val or test; without this column, the images are
divided as those of a folder are (see folders.py).
"""

import csv
import difflib
from pathlib import Path

import numpy as np

from keras_vit.training.datasets.splits import Split, assemble

SPLITS = ("train", "val", "test")


def load(path, seed=0):
    """Read the manifest; the images themselves are not read.

    Classes are numbered in the order of their names, or of their values if all names are numbers.

    Returns:
        A splits.DataSet.
    Raises:
        ValueError: if an entry is missing, unknown or given twice (the message names its line), if there are fewer than
            two classes, or if train lacks a class of another split.
    """
    path = Path(path).absolute()
    if not path.is_file():
        raise ValueError(f'dataset="csv" takes the path of a CSV file as data_dir. There is no file {path}.')
    rows_by_split = {}
    for file, label, split in _read(path):
        rows_by_split.setdefault(split, []).append((file, label))
    classes = _classes(path, {split: {label for _, label in rows} for split, rows in rows_by_split.items()})
    number = {name: i for i, name in enumerate(classes)}
    splits = {
        split: Split(tuple(file for file, _ in rows), np.array([number[label] for _, label in rows], "int32"))
        for split, rows in rows_by_split.items()
    }
    return assemble(path.stem, classes, splits, seed)


def list_files(path):
    """List the files of every class.

    Returns:
        {split: {class: its files}}; the split is "all" if there is no such column.
    Raises:
        ValueError: if a line or the header is invalid, as in `load`.
    """
    found = {}
    for file, label, split in _read(Path(path).absolute()):
        found.setdefault(split, {}).setdefault(label, []).append(file)
    return found


def _read(path):
    """(absolute path, label, split) of every line; the split is "all" if there is no such column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            _check_columns(path, reader.fieldnames or ())
            lines = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error
    seen, rows = {}, []
    for line, row in lines:
        file, label, split = (row.get(column, "all") for column in ("path", "label", "split"))
        if not file or not label:
            raise ValueError(f"{path}, line {line}: path and label must not be empty. Received: {file!r}, {label!r}.")
        if "split" in row and split not in SPLITS:
            raise ValueError(f"{path}, line {line}: split must be one of {', '.join(SPLITS)}. Received: {split!r}.")
        file = str(path.parent / file)
        if file in seen:
            raise ValueError(f"{path}: lines {seen[file]} and {line} name the same image, {file}. Remove one of them.")
        seen[file] = line
        rows.append((file, label, split))
    return rows


def _check_columns(path, columns):
    for column in ("path", "label"):
        if column not in columns:
            close = difflib.get_close_matches(column, columns, n=1)
            raise ValueError(
                f"{path} needs the columns path,label and may have split. It has {','.join(columns) or 'none'}: there "
                f"is no {column}{f', but {close[0]}' if close else ''}. The first line names the columns."
            )


def _classes(path, labels):
    """The names of the classes in order, from {split: its set of labels}."""
    if not labels.keys() & {"all", "train"}:
        raise ValueError(f"{path} has no image {'of split train' if labels else 'at all'}.")
    classes = labels.get("train", labels.get("all"))
    for split, names in labels.items():
        for name in sorted(names - classes):
            close = difflib.get_close_matches(name, classes, n=1)
            raise ValueError(
                f"{path}: no image of split train has the label {name!r}, which one of {split} has."
                f"{f' Closest: {close[0]!r}.' if close else ''}"
            )
    if len(classes) < 2:
        raise ValueError(f"A data set needs two classes or more. {path} has {len(classes)}: {sorted(classes)}.")
    numbers = all(name.isdecimal() for name in classes)
    return tuple(sorted(classes, key=lambda name: (int(name), name) if numbers else name))
