"""The images of an evaluation: from a folder of class folders, or a CSV file with the columns path,label.

`class_numbers` maps the class names of a data set to the class numbers of a model.
"""

import difflib
from collections import Counter
from dataclasses import dataclass, field

from keras_vit.images import folders
from keras_vit.images.manifest import is_split, read_manifest
from keras_vit.images.names import normalized, printable
from keras_vit.images.split_names import split_of
from keras_vit.preprocessing import IMAGE_SUFFIXES
from keras_vit.system import places

IMAGENET_SETS = (1000, 11821, 21841, 21843)  # numbers of classes of the sets of `imagenet_labels`
ORDERS = ("name", "numeric", "sorted")


@dataclass(frozen=True)
class LabelledImages:
    """Images with the numbers of their classes, and what to tell the user about how they were found."""

    images: list  # of (path, number of the class), in order; of several labels, (path, numbers of the classes)
    notes: dict[str, str] = field(default_factory=dict)  # {name: text}


def find_images(path, labels, split=None, order=None, class_names=None, multi_label=False):
    """The images of a folder or of a CSV file as (path, number of the class), in order.

    Args:
        path: a folder of class folders (some classes may have none), or a CSV file with a header and the columns path
            (relative ones are relative to the file), label and, optionally, split.
        labels: the model's K class names.
        split: "train", "val", "test" or any other name of these; the name of a folder inside; or what the file's lines
            have as split. None: all.
        order, class_names: how the folders' names, or the file's labels, map to classes; see `class_numbers`.
        multi_label: whether an image may have several classes, or none; pairs are then (path, tuple of numbers).

    Raises:
        ValueError: naming what is missing, or a folder or label that is none of the classes.
    """
    return label_images(path, labels, split, order, class_names, multi_label).images


def label_images(path, labels, split=None, order=None, class_names=None, multi_label=False):
    """As `find_images`, with notes: a `LabelledImages`."""
    path = places.plain(path)
    if places.is_file(path):
        return LabelledImages(_csv_images(path, labels, split, order, class_names, multi_label))
    if places.is_folder(path):
        found = _folder_images(path, labels, split, order, class_names)
        images = [(file, (number,)) for file, number in found.images] if multi_label else found.images
        return LabelledImages(images, found.notes)
    raise ValueError(f"{path} does not exist; expected a folder with a folder per class, or a CSV file path,label.")


def class_numbers(names, labels, order=None, class_names=None):
    """{name: number of its class}.

    Args:
        names: the data set's names of its classes.
        labels: the model's K class names.
        order: "name": the name is the model's label, ignoring case and the form of accents in Unicode, or, where the
            labels are ImageNet's, its WordNet id. "numeric": the name is the number, as in ImageNet-V2. "sorted": the
            n-th name in the order of strings is class n; all K must be there. None: by name, or, where no name is a
            label and all are numbers below K, by number.
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
    numbers = {normalized(name): number for number, name in enumerate(class_names)}
    unknown = next((name for name in names if normalized(name) not in numbers), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is none of the given class names.{_closest(unknown, class_names)}")
    return {name: numbers[normalized(name)] for name in names}


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

    exact, folded = _once(map(normalized, labels)), _once(map(_folded, labels))
    if len(labels) in IMAGENET_SETS:
        classes = imagenet_labels(len(labels))
        if [label for _, label in classes] == list(labels):
            exact.update((wnid, number) for number, (wnid, _) in enumerate(classes))
    numbers = {name: exact.get(normalized(name), folded.get(_folded(name))) for name in names}
    return {name: number for name, number in numbers.items() if number is not None}


def _once(names):
    names = tuple(names)
    counts = Counter(names)
    return {name: number for number, name in enumerate(names) if counts[name] == 1}


def _folded(name):
    return normalized(name).casefold().replace("_", " ")


def _unknown(name, labels):
    some = ", ".join(repr(label) for label in labels[:5])
    return (
        f"{name!r} is the name of none of the model's {len(labels)} classes, or of two of them. They are "
        f"{some}{', ...' if len(labels) > 5 else ''}.{_closest(name, labels)} Use --class-names or --label-order for "
        "other names (in Python: class_names, order)."
    )


def _closest(name, known):
    close = difflib.get_close_matches(normalized(name), list(map(normalized, known)), n=3)
    return f" Closest: {', '.join(close)}." if close else ""


def _folder_images(folder, labels, split, order, class_names):
    found, notes = _split_folder(folder, labels, split, class_names)
    if not any(listing.images for listing in found.classes.values()):
        not_taken = folders.files_in_words(found.left_out)
        raise ValueError(
            f"{found.folder} holds no folder with images ({', '.join(IMAGE_SUFFIXES)})."
            f"{f' Not taken: {not_taken}.' if not_taken else ''}"
        )
    try:
        numbers = class_numbers(found.classes, labels, order, class_names)
    except ValueError as error:
        below = folders.deeper(found.folder)
        hint = f" Is {printable(below)} meant?" if below else ""
        raise ValueError(f"{printable(found.folder)}: {error}{hint}") from error
    images = [
        (places.path_of(file), numbers[name]) for name, listing in found.classes.items() for file in listing.images
    ]
    return LabelledImages(images, notes)


def _split_folder(folder, labels, split, class_names):
    """The class folders to measure on, and notes."""
    known = tuple(map(normalized, class_names or labels))
    if split:
        found = folders.find_split(folder, split, known)
        where = f"{places.relative(found.folder, folder)}/"
    else:
        whole = folders.find_classes(folder, known)
        if "all" not in whole.splits:
            names = [f"{places.relative(part.folder, folder)}/" for part in whole.splits.values()]
            raise ValueError(f"{printable(folder)} has the splits {', '.join(names)}; choose one with --split.")
        found, where = whole.splits["all"], ""
    notes = {"split": where, "not taken": folders.files_in_words(found.left_out)}
    return found, {name: text for name, text in notes.items() if text}


def _csv_images(path, labels, split, order, class_names, multi_label):
    rows = _csv_rows(path, split, multi_label)
    names = {label for row in rows for label in row.labels}
    try:
        numbers = class_numbers(names, labels, order, class_names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    _refuse_ambiguous(path, names, numbers, len(labels), order or class_names)
    found = [(places.path_of(row.path), tuple(numbers[label] for label in row.labels)) for row in rows]
    return found if multi_label else [(file, number) for file, (number,) in found]


def _csv_rows(path, split, multi_label):
    """The rows of the split."""
    rows = read_manifest(path, multi_label).rows
    splits = sorted({row.split or "" for row in rows})
    chosen = [row for row in rows if not split or is_split(row.split or "", split)]
    if (len({split_of(name) or name for name in splits}) > 1 and split is None) or (split and rows and not chosen):
        raise ValueError(
            f"{path} has the splits {', '.join(filter(None, splits)) or 'none'}; choose one with --split. "
            f"Received: {split or 'none'}."
        )
    if not chosen:
        raise ValueError(f"{path} names no image.")
    return chosen


def _refuse_ambiguous(path, names, numbers, classes, order):
    """Raise a ValueError for labels that are both numbers and names, of different classes, without an order."""
    if order is None and _are_numbers(names, classes) and numbers != _by_number(names, classes):
        raise ValueError(
            f"{path}: the labels are numbers, and the names of the model's classes are other numbers. Add "
            "--label-order numeric if the labels are class numbers, --label-order name if they are class names."
        )
