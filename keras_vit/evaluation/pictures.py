"""Where the pictures of an evaluation come from: a folder of class folders, or a CSV file with the columns path,label.

A data set calls its classes somehow, and the model numbers them; `class_numbers` brings the two together.
"""

import csv
import difflib
from collections import Counter
from pathlib import Path

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
IMAGENET_SETS = (1000, 11821, 21841, 21843)  # numbers of classes that `imagenet_labels` knows
ORDERS = ("name", "numeric", "sorted")
SPLITS = ("train", "val", "validation", "test")


def find_pictures(path, labels, split=None, order=None, class_names=None):
    """The pictures of a folder or of a CSV file as (path, number of the class), in order.

    Args:
        path: a folder of class folders (a class without a folder is not asked for), or a CSV file with a header and
            the columns path (relative ones are relative to the file) and label, and perhaps split.
        labels: the model's K names.
        split: the folder's subfolder of this name, or the file's lines with this split; None: all.
        order, class_names: what the folders' names, or the labels in the file, mean; see `class_numbers`.
    Raises: ValueError naming what is missing, or a folder or label that is none of the classes.
    """
    path = Path(path)
    if path.is_file():
        return _csv_pictures(path, labels, split, order, class_names)
    path = path / (split or "")
    if path.is_dir():
        return _folder_pictures(path, labels, order, class_names)
    raise ValueError(f"{path} does not exist; expected a folder with a folder per class, or a CSV file path,label.")


def class_numbers(names, labels, order=None, class_names=None):
    """The number of the class that each name stands for, as a dictionary.

    Args:
        names: what a data set calls its classes.
        labels: the model's K names.
        order: "name": as the model's label, whatever the case, or, where the labels are ImageNet's, its WordNet id.
            "numeric": the name is the number, as in ImageNet-V2. "sorted": the n-th name in the order of strings is
            class n; all K must be there. None: by name, or, where none of the names is known and all of them are
            numbers below K, by number.
        class_names: instead, what the data set calls class 0, 1, ..., K - 1.
    Raises: ValueError naming the first name without a class.
    """
    names = sorted(set(names))
    if order not in (None, *ORDERS) or (order is not None and class_names is not None):
        raise ValueError(
            f"order must be one of {', '.join(ORDERS)}, or None, as it has to be where class_names are given. "
            f"Received: {order!r}."
        )
    if class_names is not None:
        return _by_position(names, tuple(class_names), len(labels))
    if order == "sorted":
        return _by_position(names, names, len(labels))
    by_name = {} if order == "numeric" else _by_name(names, labels)
    if order == "numeric" or (order is None and not by_name and _are_numbers(names, len(labels))):
        return _by_number(names, len(labels))
    unknown = next((name for name in names if name not in by_name), None)
    if unknown is not None:
        raise ValueError(_unknown(unknown, labels))
    return by_name


def _by_position(names, class_names, classes):
    if len(class_names) != classes or len(set(class_names)) != classes:
        raise ValueError(
            f"The model has {classes} classes; expected as many different names for them, in the order of their "
            f"numbers. Received: {len(class_names)}, {len(set(class_names))} of them different."
        )
    numbers = {name: number for number, name in enumerate(class_names)}
    unknown = next((name for name in names if name not in numbers), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is none of the class names given.{_closest(unknown, class_names)}")
    return {name: numbers[name] for name in names}


def _by_number(names, classes):
    wrong = next((name for name in names if not _are_numbers([name], classes)), None)
    if wrong is not None:
        raise ValueError(f"Expected numbers of classes, 0 to {classes - 1}. Received: {wrong!r}.")
    return {name: int(name) for name in names}


def _are_numbers(names, classes):
    return all(name.isascii() and name.isdigit() and int(name) < classes for name in names)


def _by_name(names, labels):
    """{name: number} of the names that are one class's label, folded label or WordNet id."""
    from keras_vit.labels import imagenet_labels

    exact, folded = _once(labels), _once([_folded(label) for label in labels])
    if len(labels) in IMAGENET_SETS:
        classes = imagenet_labels(len(labels))
        if [label for _, label in classes] == list(labels):
            exact.update((wnid, number) for number, (wnid, _) in enumerate(classes))
    numbers = {name: exact.get(name, folded.get(_folded(name))) for name in names}
    return {name: number for name, number in numbers.items() if number is not None}


def _once(names):
    counts = Counter(names)
    return {name: number for number, name in enumerate(names) if counts[name] == 1}


def _folded(name):
    return name.casefold().replace("_", " ")


def _unknown(name, labels):
    some = ", ".join(repr(label) for label in labels[:5])
    return (
        f"{name!r} is the name of none of the model's {len(labels)} classes, or of two of them. They are "
        f"{some}{', ...' if len(labels) > 5 else ''}.{_closest(name, labels)} --class-names or --label-order tell what "
        "other names mean (in Python: class_names, order)."
    )


def _closest(name, known):
    close = difflib.get_close_matches(name, known, n=3)
    return f" Closest: {', '.join(close)}." if close else ""


def _folder_pictures(folder, labels, order, class_names):
    inside = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            inside[entry.name] = sorted(path for path in entry.rglob("*") if _is_picture(path))
    if not any(inside.values()):
        raise ValueError(f"{folder} holds no folder with pictures ({', '.join(PICTURES)}).")
    try:
        numbers = class_numbers(inside, labels, order, class_names)
    except ValueError as error:
        splits = [name for name in SPLITS if name in inside and name not in labels]
        hint = f" It has {'/, '.join(splits)}/; --split says which." if splits else ""
        raise ValueError(f"{folder}: {error}{hint}") from error
    return [(path, numbers[name]) for name, paths in inside.items() for path in paths]


def _is_picture(path):
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


def _csv_pictures(path, labels, split, order, class_names):
    rows = _csv_rows(path, split)
    names = {label for _, label in rows}
    try:
        numbers = class_numbers(names, labels, order, class_names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    _refuse_ambiguous(path, names, numbers, len(labels), order or class_names)
    return [(path.parent / name, numbers[label]) for name, label in rows]


def _csv_rows(path, split):
    """(path, label) of every line of the split."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns, lines = reader.fieldnames or [], [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error
    if not {"path", "label"} <= set(columns):
        raise ValueError(f"{path} needs the columns path,label; it has {','.join(columns) or 'none'}.")
    lacking = next((number for number, row in lines if not row["path"] or not row["label"]), None)
    if lacking:
        raise ValueError(f"{path}, line {lacking}: expected a path and a label.")
    splits = sorted({str(row.get("split", "")) for _, row in lines})
    if (len(splits) > 1 and split is None) or (split and split not in splits):
        raise ValueError(
            f"{path} has the splits {', '.join(splits) or 'none'}; --split says which. Received: {split or 'none'}."
        )
    rows = [(row["path"], row["label"]) for _, row in lines if not split or row["split"] == split]
    if not rows:
        raise ValueError(f"{path} names no picture.")
    return rows


def _refuse_ambiguous(path, names, numbers, classes, decided):
    """Labels that are numbers and names at once, of different classes, have to be told apart by who wrote them."""
    if decided is None and _are_numbers(names, classes) and numbers != _by_number(names, classes):
        raise ValueError(
            f"{path}: the labels are numbers, and the model's classes are called by other numbers. Add --label-order "
            "numeric if they are the classes' numbers, --label-order name if they are their names."
        )
