"""A data set as a folder of class folders.

data/cat/1.jpg, data/dog/7.png, ...             divided 80 / 10 / 10, stratified, by a seed
data/train/cat/..., data/val/cat/...            as it is; val chooses the checkpoint and is reported on
data/train/..., data/val/..., data/test/...     as it is; test is held out
data/train/..., data/test/...                   a tenth of train becomes the validation part
"""

from pathlib import Path

import numpy as np

from keras_vit.training.parts import DataSet, Part, stratified

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def load(folder, seed=0):
    """Read the folder's lists of files (not the pictures).

    Raises: ValueError for a folder that does not exist, fewer than two classes, a class without pictures, or class
        folders that differ between the parts.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise ValueError(f"data_dir is not a folder: {folder}. Expected class folders in it.")
    present = [name for name in ("train", "val", "test") if (folder / name).is_dir()]
    if present and "train" not in present:
        raise ValueError(f"{folder} has {'/, '.join(present)}/ and no train/. Add it, or rename.")
    if not present:
        classes, whole = _scan(folder)
        train, val, held_out = (whole.take(i) for i in _divide(whole, (0.1, 0.1), seed))
        return DataSet(folder.name, classes, train, val, held_out)
    return _from_parts(folder, present, seed)


def _from_parts(folder, present, seed):
    scanned = {name: _scan(folder / name) for name in present}
    classes, train = scanned["train"]
    for name, (others, _) in scanned.items():
        if others != classes:
            raise ValueError(
                f"The class folders of {folder}/train and {folder}/{name} differ. "
                f"Only in train: {sorted(set(classes) - set(others)) or 'none'}; "
                f"only in {name}: {sorted(set(others) - set(classes)) or 'none'}."
            )
    if "val" in scanned:
        val = scanned["val"][1]
    else:
        train, val = (train.take(i) for i in _divide(train, (0.1,), seed))
    held_out = scanned["test"][1] if "test" in scanned else val
    return DataSet(folder.name, classes, train, val, held_out, "test" not in scanned)


def _scan(folder):
    """Class names in order, and the pictures of all classes as a Part."""
    found = [f for f in folder.iterdir() if f.is_dir() and not f.name.startswith(".")]
    classes = sorted(found, key=lambda entry: entry.name)
    if len(classes) < 2:
        raise ValueError(
            f"A data set needs two class folders or more. {folder} has {len(classes)}: " f"{[c.name for c in classes]}."
        )
    names, labels = [], []
    for number, entry in enumerate(classes):
        pictures = sorted(str(f) for f in entry.rglob("*") if _is_picture(f))
        if not pictures:
            raise ValueError(
                f"The class folder {entry} holds no picture ({', '.join(SUFFIXES)}). "
                "Put some in, or remove the folder."
            )
        names += pictures
        labels += [number] * len(pictures)
    return tuple(c.name for c in classes), Part(tuple(names), np.array(labels, "int32"))


def _is_picture(path):
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _divide(part, fractions, seed):
    """Indices of train, then of one part per fraction, of at least one picture each."""
    sizes = [max(1, round(len(part) * fraction)) for fraction in fractions]
    if sum(sizes) >= len(part):
        raise ValueError(f"{len(part)} pictures are too few to be divided; {len(sizes) + 2} needed.")
    *others, train = stratified(part.labels, (*sizes, len(part) - sum(sizes)), seed)
    return train, *others
