"""A CSV file of images: one per line, with its path, the names of its classes and, optionally, its split.

path,label,split            path,label              path,cat,dog,split
cats/1.jpg,cat,train        1.jpg,cat|dog           1.jpg,1,1,train
/other/disk/7.png,dog,val   2.jpg,                  2.jpg,0,0,val

The first is of one class per image. A "|" in any label, or columns of 0 and 1 in place of the column label, make it one
of several classes per image, of which an image may have none: an empty label, or zeros only. (An empty label elsewhere
is more likely forgotten than meant, and an error.) So no name of a class has a "|".

A relative path is relative to the CSV file's folder, on a disk or in an object store; a URL is taken as it is.
Training, `check-data`, `prepare-data` and `validate` all read it here. It is UTF-8, with or without a byte-order mark;
beside a column label, other columns are passed over.
"""

import contextlib
import csv
import difflib
import re
from typing import NamedTuple

from keras_vit.images.names import normalized, some
from keras_vit.images.split_names import split_of
from keras_vit.system import places

BETWEEN = "|"  # the names of the classes of one image
FLAGS = {"0": False, "1": True, "false": False, "true": True}  # what a class's column may hold, in any case


class Row(NamedTuple):
    """One image of a manifest."""

    line: int
    path: str  # of the image
    labels: tuple[str, ...]  # its classes, in the form of Unicode in which names are compared
    written: tuple[str, ...]  # the same as the file has them
    split: str | None  # as it is written; None if there is no such column


class Manifest(NamedTuple):
    """The contents of a CSV file of images."""

    rows: list[Row]
    multi_label: bool  # whether an image may have several classes, or none
    classes: tuple[str, ...] | None  # the classes that have columns, in their order; None with a column label


def read_manifest(path, multi_label=None):
    """The images of a CSV file, in order.

    Args:
        path: of the file.
        multi_label: whether an image may have several classes, or none; None: as the file says.

    Returns:
        A `Manifest`.
    Raises:
        ValueError: naming the column that is missing, or the line without a path or label, or with more labels than it
            may have; or if the file is no CSV file in UTF-8.
        OSError: if it cannot be opened.
    """
    path = places.plain(path)
    with _open_csv(path) as reader:
        classes = _class_columns(path, list(reader.fieldnames or ()))
        rows = [_row(path, reader.line_num, values, classes) for values in reader]
    several = classes is not None or any(len(row.labels) > 1 for row in rows)
    allowed = several if multi_label is None else multi_label
    if not allowed:
        _refuse_several_or_none(path, rows)
    return Manifest(rows, allowed, classes and tuple(map(normalized, classes)))


def read_paths(path, split=None):
    """The paths of the images that a CSV file has in its column path, in order; it needs no labels.

    Args:
        path: of the file.
        split: only the lines with this split, by any of its names; None: all.

    Raises:
        ValueError: without a column path, for a line without one, a split that no line has, or a file that is no CSV
            file in UTF-8.
        OSError: if it cannot be opened.
    """
    path, found, splits = places.plain(path), [], set()
    folder = places.parent(path)
    with _open_csv(path) as reader:
        _require_columns(path, list(reader.fieldnames or ()), ("path",) if split is None else ("path", "split"))
        for values in reader:
            if not values["path"]:
                raise ValueError(f"{path}, line {reader.line_num}: path must not be empty.")
            splits.add(values.get("split") or "")
            if split is None or is_split(values["split"] or "", split):
                found.append(places.joined(folder, values["path"]))
    if not found:
        known = f" It has the splits {some(sorted(filter(None, splits)))}." if any(splits) else ""
        raise ValueError(f"{path} names no image{f' of the split {split}' if split else ''}.{known}")
    return found


def is_split(written, split):
    """Whether a split as it is written in a file is the one that is asked for, by any of its names."""
    return written == split or (split_of(split) is not None and split_of(written) == split_of(split))


@contextlib.contextmanager
def _open_csv(path):
    """The rows of a CSV file, by their columns' names."""
    try:
        with places.open_text(path) as file:
            yield csv.DictReader(file, skipinitialspace=True)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _require_columns(path, columns, needed):
    for column in needed:
        if column not in columns:
            close = difflib.get_close_matches(column, columns, n=1)
            raise ValueError(
                f"{path} needs the columns {','.join(needed)}{'' if 'split' in needed else ' and may have split'}. It "
                f"has {','.join(columns) or 'none'}: there is no {column}{f', but {close[0]}' if close else ''}. The "
                "first line names the columns."
            )


def _row(path, line, values, classes):
    file, label, split = (values.get(column) for column in ("path", "label", "split"))
    if not file or (classes is None and label is None):
        raise ValueError(f"{path}, line {line}: path and label must not be empty. Received: {file!r}, {label!r}.")
    written = _names(path, line, label) if classes is None else _set_columns(path, line, values, classes)
    labels = tuple(map(normalized, written))
    split = (split or "") if "split" in values else None
    return Row(line, places.joined(places.parent(path), file), labels, written, split)


def _names(path, line, label):
    """The names in a label; each once."""
    names = re.split(r"\s*\|\s*", label) if label else []
    if not all(names):
        raise ValueError(
            f'{path}, line {line}: expected a name on either side of every "{BETWEEN}", which stands between the '
            f"classes of an image. Received: {label!r}."
        )
    return tuple(dict.fromkeys(names))


def _set_columns(path, line, values, classes):
    """The classes whose column is 1."""
    flags = {name: FLAGS.get((values[name] or "").strip().lower()) for name in classes}
    for name, flag in flags.items():
        if flag is None:
            raise ValueError(
                f"{path}, line {line}: {name} must be 0 or 1, whether the image has this class. Received: "
                f"{values[name]!r}. Without a column label, every column but path and split is a class: name the "
                "classes in a column label, or remove the columns that are none."
            )
    return tuple(name for name, flag in flags.items() if flag)


def _refuse_several_or_none(path, rows):
    """Raise a ValueError for an image without exactly one class."""
    row = next((row for row in rows if len(row.labels) != 1), None)
    if row and row.labels:
        raise ValueError(
            f"{path}, line {row.line}: one class per image is expected here, since the model knows no more. Received: "
            f"{BETWEEN.join(row.written)!r}."
        )
    if row:
        file = row.path.removeprefix(places.inside(places.parent(path), ""))
        raise ValueError(
            f"{path}, line {row.line}: path and label must not be empty. Received: {file!r}, ''. Images without a class"
            f' are for manifests of several labels: with a "{BETWEEN}" in a label, or a column of 0 and 1 per class in '
            "place of label."
        )


def _class_columns(path, columns):
    """The columns that are classes; None if there is a column label. A ValueError for a header that says neither."""
    classes = [column for column in columns if column not in ("path", "split")]
    if "path" in columns and "label" not in columns and len(classes) > 1:
        twice = sorted({name for name in classes if list(map(normalized, classes)).count(normalized(name)) > 1})
        if twice or not all(classes):
            raise ValueError(
                f"{path}: every class needs one column, with its name in the first line. Received: "
                f"{f'{some(twice)} twice' if twice else 'a column without a name'}."
            )
        return classes
    _require_columns(path, columns, ("path", "label"))
    return None
