"""ImageNet-ReaL: all classes that annotators found in each image of ImageNet's validation set.

Beyer, Hénaff, Kolesnikov, Zhai, van den Oord: Are we done with ImageNet?, arXiv:2006.07159. A prediction is right if it
is any of the image's classes; images without an agreed class are left out.
"""

import json
import re
from pathlib import Path

import numpy as np

from keras_vit.evaluation.metrics import accuracy_of

NAME = re.compile(r"ILSVRC2012_val_(\d{8})")  # the number, from 1, is the position in the file
CLASSES = 1000


def read_real_labels(path, images, classes):
    """The classes of each image, {path of the image: numbers}, from the authors' real.json.

    Args:
        path: of real.json.
        images: paths of images of ImageNet's validation set, with their original file names.
        classes: K, of the model.

    Raises:
        ValueError: for another file, an image of another name, or a model of other classes.
    """
    if classes != CLASSES:
        raise ValueError(f"ImageNet-ReaL has the {CLASSES} classes of ImageNet-1k. The model has {classes}.")
    try:
        labels = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(labels, list) or not all(map(_are_classes, labels)):
        raise ValueError(
            f"{path} must be a JSON list of the classes of each validation image, in order: lists of numbers from 0 to "
            f"{CLASSES - 1}, as in the authors' real.json."
        )
    return {image: labels[_place(Path(image), len(labels))] for image in images}


def real_accuracy(predictions, real_labels):
    """The `Accuracy` of `Predictions` by the labels of `read_real_labels`.

    Raises:
        ValueError: if no image has a class.
    """
    classes = [real_labels[path] for path in predictions.paths]
    hits = [np.isin(best, numbers) for best, numbers in zip(predictions.best, classes) if numbers]
    if not hits:
        raise ValueError(f"None of the {len(classes)} images has a class in ImageNet-ReaL.")
    return accuracy_of(np.stack(hits))


def _are_classes(entry):
    return isinstance(entry, list) and all(type(label) is int and 0 <= label < CLASSES for label in entry)


def _place(path, total):
    match = NAME.fullmatch(path.stem)
    if not match or not 1 <= int(match[1]) <= total:
        raise ValueError(
            f"{path}: expected an image of ImageNet's validation set, named ILSVRC2012_val_00000001.JPEG to "
            f"ILSVRC2012_val_{total:08d}.JPEG."
        )
    return int(match[1]) - 1
