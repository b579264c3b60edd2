"""A data set as a folder of class folders.

data/cat/1.jpg, data/dog/7.png, ...             divided 80 / 10 / 10, stratified, by a seed
data/train/cat/..., data/val/cat/...            as it is; val chooses the checkpoint and is reported on
data/train/..., data/val/..., data/test/...     as it is; test is held out
data/train/..., data/test/...                   a tenth of train becomes the validation part
"""

import os
from pathlib import Path

import numpy as np

from keras_vit.training.parts import Part, assemble

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def load(folder, seed=0):
    """Read the folder's lists of files (not the pictures).

    Raises: ValueError for a folder that does not exist, fewer than two classes, a class without pictures, or class
        folders that differ between the parts.
    """
    folder = Path(folder).absolute()
    found = find(folder)
    for name, (missing, more) in differing(found).items():
        raise ValueError(
            f"The class folders of {folder}/train and {folder}/{name} differ. "
            f"Only in train: {missing or 'none'}; only in {name}: {more or 'none'}."
        )
    parts = {name: _part(folder if name == "all" else folder / name, files) for name, files in found.items()}
    return assemble(folder.name, tuple(next(iter(found.values()))), parts, seed)


def find(folder):
    """{part: {class: its files, sorted}}, of "train", "val" and "test" or of "all"; files of any kind but hidden ones.

    Raises: ValueError for a folder that does not exist, or has val or test but no train.
    """
    folder = Path(folder)
    if not folder.is_dir():
        manifest = '; a manifest takes dataset="csv"' if folder.is_file() else ""
        raise ValueError(f"data_dir is not a folder: {folder}. Expected class folders in it{manifest}.")
    present = [name for name in ("train", "val", "test") if (folder / name).is_dir()]
    if present and "train" not in present:
        raise ValueError(f"{folder} has {'/, '.join(present)}/ and no train/. Add it, or rename.")
    return {name: _classes(folder / name) for name in present} or {"all": _classes(folder)}


def differing(found):
    """Of what `find` found: {part: (classes only in train, classes only in it)}, where there are any."""
    train = set(found.get("train", ()))
    parts = {name: (sorted(train - set(c)), sorted(set(c) - train)) for name, c in found.items() if name != "all"}
    return {name: classes for name, classes in parts.items() if any(classes)}


def is_picture(path):
    """Whether a file is called like a picture that training can read."""
    return path.lower().endswith(SUFFIXES)


def _classes(folder):
    entries = [entry for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
    return {entry.name: _files(entry.path) for entry in sorted(entries, key=lambda entry: entry.name)}


def _files(folder):
    walk = os.walk(folder)
    return sorted(os.path.join(path, name) for path, _, names in walk for name in names if not name.startswith("."))


def _part(folder, classes):
    if len(classes) < 2:
        shards = ' It holds shards, which take dataset="records".' if (folder / "index.json").is_file() else ""
        raise ValueError(
            f"A data set needs two class folders or more. {folder} has {len(classes)}: {list(classes)}.{shards}"
        )
    pictures = {name: [file for file in files if is_picture(file)] for name, files in classes.items()}
    for name, files in pictures.items():
        if not files:
            raise ValueError(
                f"The class folder {folder / name} holds no picture ({', '.join(SUFFIXES)}). "
                "Put some in, or remove the folder."
            )
    counts = [len(files) for files in pictures.values()]
    names = tuple(file for files in pictures.values() for file in files)
    return Part(names, np.repeat(np.arange(len(counts), dtype="int32"), counts))
