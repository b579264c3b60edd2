"""A data set as a folder of class folders.

data/cat/1.jpg, data/dog/7.png, ...             divided 80 / 10 / 10, stratified, by a seed
data/train/cat/..., data/val/cat/...            as they are; results are measured on val, which selects the checkpoint
data/train/..., data/val/..., data/test/...     as they are
data/train/..., data/test/...                   a tenth of train becomes the validation split

Splits have other names too, Training/ and Testing/ say; `keras_vit.images.folders` knows them.
"""

import os

import numpy as np

from keras_vit.images import folders
from keras_vit.images.names import printable
from keras_vit.images.split_names import split_of
from keras_vit.system import places
from keras_vit.training.datasets.splits import Split, assemble


def load(folder, seed=0):
    """List the folder's images by split and class; the images themselves are not read.

    Returns:
        A splits.DataSet.
    Raises:
        ValueError: if the folder does not exist, if it is not clear which folders are splits, if there are fewer than
            two classes, a class without images, or one without images in train, or if the name of one is not UTF-8.
    """
    return assembled(folders.find_classes(places.absolute(folder)), seed)


def assembled(found, seed=0):
    """The DataSet of a `keras_vit.images.folders.ClassFolders`; raises as `load` does."""
    _refuse_without_train(found)
    train = found.splits.get("train") or found.splits["all"]
    _check_classes(train, found.folder)
    # A class folder without images is an error in train, and a class that is not there in another split.
    present = {name: [c for c in part.classes if part.count(c)] for name, part in found.splits.items()}
    classes = tuple(train.classes) + tuple(sorted({c for names in present.values() for c in names} - {*train.classes}))
    number = {name: i for i, name in enumerate(classes)}
    splits = {name: _split(part, present[name], number) for name, part in found.splits.items()}
    return assemble(printable(os.path.basename(found.folder)), classes, splits, seed, found.notes)


def _split(part, present, number):
    names = tuple(image for name in present for image in part.classes[name].images)
    labels = np.array([number[name] for name in present], "int32")
    return Split(names, np.repeat(labels, [part.count(name) for name in present]))


def _refuse_without_train(found):
    empty = [name for name, why in found.beside.items() if split_of(name) and why == folders.NO_IMAGE]
    if empty:
        raise ValueError(
            f"{printable(found.folder)}: {empty[0]}/ holds no image. Put class folders with images in it, or remove it."
        )
    if not found.splits.keys() & {"train", "all"}:
        present = ", ".join(f"{os.path.basename(part.folder)}/" for part in found.splits.values())
        beside = "".join(f"; {name}/ has {why}" for name, why in found.beside.items() if split_of(name))
        raise ValueError(f"{printable(found.folder)} has {present} and no train/{beside}. Add it, or rename.")


def _check_classes(part, root):
    """Raise a ValueError for fewer than two classes, or a class without an image."""
    hint = _hint(part, root) if sum(bool(listing.images) for listing in part.classes.values()) < 2 else ""
    if len(part.classes) < 2 or hint:
        raise ValueError(
            f"A data set needs two class folders or more. {printable(part.folder)} has {len(part.classes)}: "
            f"{list(part.classes)}.{hint}"
        )
    for listing in part.classes.values():
        if not listing.images:
            reasons = folders.files_in_words(listing.left_out)
            raise ValueError(
                f"The class folder {printable(listing.folder)} holds no image{f', but {reasons}' if reasons else ''}. "
                "Put some in, or remove the folder."
            )


def _hint(part, root):
    if places.is_file(places.inside(part.folder, "index.json")):
        return ' It holds shards, which take dataset="records".'
    below = folders.deeper(part.folder)
    if below is None:
        return ""
    if part.folder != root:
        return f" Move the class folders of {printable(below)} up into it."
    return f" Its data lie deeper: give {printable(below)}."
