"""What the classes weigh in the loss, counted on the training split alone.

"balanced"   N / (K n_k): in inverse proportion to the images n_k of a class, as in scikit-learn
"effective"  in inverse proportion to (1 - beta^n_k) / (1 - beta), the effective number of images: Cui, Jia, Lin, Song,
             Belongie, "Class-Balanced Loss Based on Effective Number of Samples", arXiv:1901.05555, Eq. 2
FILE.csv     class,weight: as they are

The first two are scaled so that the weights of all labels of the split have the mean 1 (the paper: that of all classes,
which makes the loss smaller where classes are uneven); so the learning rate means what it does without them.
"""

import csv
import difflib
import math
from pathlib import Path

import numpy as np

from keras_vit.images.names import normalized, printable, some


def class_weights(recipe, data_set):
    """The weights float32 (K,) of a recipe's `class_weights`; None if it has none.

    Raises:
        ValueError: for a file that cannot be read, that lacks a class or names an unknown one, or has a weight that is
            no number from 0 up.
    """
    if recipe.class_weights is None:
        return None
    if recipe.class_weights not in ("balanced", "effective"):
        return _from_file(Path(recipe.class_weights), data_set.classes)
    counts = data_set.train.class_counts(len(data_set.classes))
    numbers = counts if recipe.class_weights == "balanced" else effective_numbers(counts, recipe.effective_beta)
    weights = 1 / numbers
    return (weights * counts.sum() / (weights * counts).sum()).astype("float32")


def effective_numbers(counts, beta):
    """(1 - beta^n) / (1 - beta) of the numbers of images n, float64."""
    return -np.expm1(np.asarray(counts) * math.log(beta)) / (1 - beta)


def _from_file(path, classes):
    if not path.is_file():
        raise ValueError(
            f"class_weights must be balanced, effective, or the path of a CSV file class,weight. There is no file "
            f"{printable(path)}."
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            found = _read(path, csv.DictReader(file, skipinitialspace=True), {normalized(name) for name in classes})
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{printable(path)} is not a CSV file in UTF-8: {error}") from error
    missing = [name for name in classes if normalized(name) not in found]
    if missing:
        raise ValueError(
            f"{printable(path)} has no weight for {len(missing)} of {len(classes)} classes: "
            f"{some(map(repr, missing), 5)}. Give each class a line class,weight."
        )
    weights = np.array([found[normalized(name)] for name in classes], "float32")
    if not weights.any():
        raise ValueError(f"{printable(path)}: all weights are 0, so that nothing would be learned.")
    return weights


def _read(path, reader, known):
    """{class: weight} of the lines of a file."""
    if not {"class", "weight"} <= set(reader.fieldnames or ()):
        raise ValueError(
            f"{printable(path)} needs the columns class,weight. It has {','.join(reader.fieldnames or ()) or 'none'}."
        )
    found = {}
    for row in reader:
        name, where = normalized(row["class"] or ""), f"{printable(path)}, line {reader.line_num}"
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise ValueError(f"{where}: there is no class {name!r}.{f' Closest: {close[0]!r}.' if close else ''}")
        if name in found:
            raise ValueError(f"{where}: {name!r} has a weight already. Remove one of the lines.")
        found[name] = _weight(row["weight"], where)
    return found


def _weight(text, where):
    try:
        weight = float(text)
    except (TypeError, ValueError):
        weight = math.nan
    if not 0 <= weight < 1e30:
        raise ValueError(f"{where}: a weight must be a number, 0 or more. Received: {text!r}.")
    return weight
