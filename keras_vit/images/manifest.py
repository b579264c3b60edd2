"""A CSV file of images: one per line, with its path, the name of its class and, optionally, its split.

path,label,split
cats/1.jpg,cat,train
/other/disk/7.png,dog,val

A relative path is relative to the CSV file's folder. Training, `check-data`, `prepare-data` and `validate` all read it
here. It is UTF-8, with or without a byte-order mark; other columns are passed over.
"""

import csv
import difflib
from pathlib import Path
from typing import NamedTuple

from keras_vit.images.names import normalized


class Row(NamedTuple):
    """One image of a manifest."""

    line: int
    path: str  # of the image
    label: str  # in the form of Unicode in which names are compared
    written: str  # the label as the file has it
    split: str | None  # as it is written; None if there is no such column


def read_manifest(path):
    """The rows of a CSV file, in order.

    Returns:
        A list of `Row`.
    Raises:
        ValueError: naming the column that is missing, or the line without a path or label; or if the file is no CSV
            file in UTF-8.
        OSError: if it cannot be opened.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            _check_columns(path, reader.fieldnames or ())
            return [_row(path, reader.line_num, values) for values in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _row(path, line, values):
    file, label, split = (values.get(column) for column in ("path", "label", "split"))
    if not file or not label:
        raise ValueError(f"{path}, line {line}: path and label must not be empty. Received: {file!r}, {label!r}.")
    return Row(line, str(path.parent / file), normalized(label), label, (split or "") if "split" in values else None)


def _check_columns(path, columns):
    for column in ("path", "label"):
        if column not in columns:
            close = difflib.get_close_matches(column, columns, n=1)
            raise ValueError(
                f"{path} needs the columns path,label and may have split. It has {','.join(columns) or 'none'}: there "
                f"is no {column}{f', but {close[0]}' if close else ''}. The first line names the columns."
            )
