"""The images of an evaluation: from a folder of class folders, or a CSV file with the columns path,label.

`class_numbers` maps the class names of a data set to the class numbers of a model.
"""

import csv
import difflib
from collections import Counter
from pathlib import Path

from keras_vit.preprocessing import PILLOW_SUFFIXES

IMAGENET_SETS = (1000, 11821, 21841, 21843)  # numbers of classes of the sets of `imagenet_labels`
ORDERS = ("name", "numeric", "sorted")
SPLITS = ("train", "val", "validation", "test")


def find_images(path, labels, split=None, order=None, class_names=None):
    """The images of a folder or of a CSV file as (path, number of the class), in order.

    Args:
        path: a folder of class folders (some classes may have none), or a CSV file with a header and the columns path
            (relative ones are relative to the file), label and, optionally, split.
        labels: the model's K class names.
        split: the folder's subfolder of this name, or the file's lines with this split; None: all.
        order, class_names: how the folders' names, or the file's labels, map to classes; see `class_numbers`.

    Raises:
        ValueError: naming what is missing, or a folder or label that is none of the classes.
    """
    path = Path(path)
    if path.is_file():
        return _csv_images(path, labels, split, order, class_names)
    path = path / (split or "")
    if path.is_dir():
        return _folder_images(path, labels, order, class_names)
    raise ValueError(f"{path} does not exist; expected a folder with a folder per class, or a CSV file path,label.")


def class_numbers(names, labels, order=None, class_names=None):
    """{name: number of its class}.

    Args:
        names: the data set's names of its classes.
        labels: the model's K class names.
        order: "name": the name is the model's label, ignoring case, or, where the labels are ImageNet's, its WordNet
            id. "numeric": the name is the number, as in ImageNet-V2. "sorted": the n-th name in the order of strings is
            class n; all K must be there. None: by name, or, where no name is a label and all are numbers below K, by
            number.
        class_names: instead of `order`, the data set's names of class 0, 1, ..., K - 1.

    Raises:
        ValueError: naming the first name without a class.
    """
    names = sorted(set(names))
    if order not in (None, *ORDERS) or (order is not None and class_names is not None):
        raise ValueError(
            f"order must be one of {', '.join(ORDERS)}, or None; with class_names it must be None. "
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
            f"The model has {classes} classes; expected as many different names, in the order of the classes. "
            f"Received: {len(class_names)}, {len(set(class_names))} of them different."
        )
    numbers = {name: number for number, name in enumerate(class_names)}
    unknown = next((name for name in names if name not in numbers), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is none of the given class names.{_closest(unknown, class_names)}")
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
    from keras_vit.imagenet.labels import imagenet_labels

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
        f"{some}{', ...' if len(labels) > 5 else ''}.{_closest(name, labels)} Use --class-names or --label-order for "
        "other names (in Python: class_names, order)."
    )


def _closest(name, known):
    close = difflib.get_close_matches(name, known, n=3)
    return f" Closest: {', '.join(close)}." if close else ""


def _folder_images(folder, labels, order, class_names):
    inside = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            inside[entry.name] = sorted(path for path in entry.rglob("*") if _is_image(path))
    if not any(inside.values()):
        raise ValueError(f"{folder} holds no folder with images ({', '.join(PILLOW_SUFFIXES)}).")
    try:
        numbers = class_numbers(inside, labels, order, class_names)
    except ValueError as error:
        splits = [name for name in SPLITS if name in inside and name not in labels]
        hint = f" It has {'/, '.join(splits)}/; choose one with --split." if splits else ""
        raise ValueError(f"{folder}: {error}{hint}") from error
    return [(path, numbers[name]) for name, paths in inside.items() for path in paths]


def _is_image(path):
    return path.suffix.lower() in PILLOW_SUFFIXES and not path.name.startswith(".")


def _csv_images(path, labels, split, order, class_names):
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
            f"{path} has the splits {', '.join(splits) or 'none'}; choose one with --split. "
            f"Received: {split or 'none'}."
        )
    rows = [(row["path"], row["label"]) for _, row in lines if not split or row["split"] == split]
    if not rows:
        raise ValueError(f"{path} names no image.")
    return rows


def _refuse_ambiguous(path, names, numbers, classes, order):
    """Raise a ValueError for labels that are both numbers and names, of different classes, without an order."""
    if order is None and _are_numbers(names, classes) and numbers != _by_number(names, classes):
        raise ValueError(
            f"{path}: the labels are numbers, and the names of the model's classes are other numbers. Add "
            "--label-order numeric if the labels are class numbers, --label-order name if they are class names."
        )
