"""ImageNet-ReaL: for each picture of ImageNet's validation set all classes that people see in it.

Beyer, Hénaff, Kolesnikov, Zhai, van den Oord: Are we done with ImageNet?, arXiv:2006.07159. A guess is right if it is
any of the picture's classes; pictures for which none was agreed on are left out.
"""

import json
import re
from pathlib import Path

import numpy as np

from keras_vit.evaluation.metrics import accuracy_of

NAME = re.compile(r"ILSVRC2012_val_(\d{8})")  # the number, from 1, is the place in the file
CLASSES = 1000


def read_real_labels(path, pictures, classes):
    """The classes that people see in each of the pictures, {path of the picture: numbers}, from the authors' real.json.

    Args:
        pictures: paths of pictures of ImageNet's validation set, told by their files' names.
        classes: K, of the model.
    Raises: ValueError for another file, a picture of another name, or a model of other classes.
    """
    if classes != CLASSES:
        raise ValueError(f"ImageNet-ReaL is about the {CLASSES} classes of ImageNet-1k. The model has {classes}.")
    try:
        labels = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(labels, list) or not all(map(_are_classes, labels)):
        raise ValueError(
            f"{path} must be a JSON list that has, for each validation picture in order, the list of its classes, "
            f"numbers from 0 to {CLASSES - 1}, as real.json of the authors is."
        )
    return {picture: labels[_place(Path(picture), len(labels))] for picture in pictures}


def real_accuracy(predictions, real_labels):
    """The `Accuracy` of `Predictions` by what `read_real_labels` gives; ValueError if no picture counts."""
    classes = [real_labels[path] for path in predictions.paths]
    hits = [np.isin(best, seen) for best, seen in zip(predictions.best, classes) if seen]
    if not hits:
        raise ValueError(f"None of the {len(classes)} pictures has a class in ImageNet-ReaL.")
    return accuracy_of(np.stack(hits))


def _are_classes(entry):
    return isinstance(entry, list) and all(type(label) is int and 0 <= label < CLASSES for label in entry)


def _place(path, total):
    match = NAME.fullmatch(path.stem)
    if not match or not 1 <= int(match[1]) <= total:
        raise ValueError(
            f"{path}: expected a picture of ImageNet's validation set, named ILSVRC2012_val_00000001.JPEG to "
            f"ILSVRC2012_val_{total:08d}.JPEG."
        )
    return int(match[1]) - 1
