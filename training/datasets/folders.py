"""A data set as a folder of class folders.

data/cat/1.jpg, data/dog/7.png, ...             divided 80 / 10 / 10, stratified, by a seed
data/train/cat/..., data/val/cat/...            as they are; results are measured on val, which selects the checkpoint
data/train/..., data/val/..., data/test/...     as they are
data/train/..., data/test/...                   a tenth of train becomes the validation split
"""

import os
from pathlib import Path

import numpy as np

from keras_vit.preprocessing import IMAGE_SUFFIXES
from keras_vit.training.datasets.splits import Split, assemble


def load(folder, seed=0):
    """List the folder's images by split and class; the images themselves are not read.

    Returns:
        A splits.DataSet.
    Raises:
        ValueError: if the folder does not exist, has fewer than two classes or a class without images, or if the
            class folders of its splits differ.
    """
    folder = Path(folder).absolute()
    found = list_files(folder)
    for name, (missing, extra) in class_differences(found).items():
        raise ValueError(
            f"The class folders of {folder}/train and {folder}/{name} differ. "
            f"Only in train: {missing or 'none'}; only in {name}: {extra or 'none'}."
        )
    splits = {name: _split(folder if name == "all" else folder / name, files) for name, files in found.items()}
    return assemble(folder.name, tuple(next(iter(found.values()))), splits, seed)


def list_files(folder):
    """List the files of every class: all that are not hidden, whether they are images or not.

    Returns:
        {split: {class: its files, sorted}} with the splits "train", "val" and "test" that exist, or else "all".
    Raises:
        ValueError: if the folder does not exist, or has val or test but no train.
    """
    folder = Path(folder)
    if not folder.is_dir():
        manifest = '; a manifest takes dataset="csv"' if folder.is_file() else ""
        raise ValueError(f"data_dir is not a folder: {folder}. Expected class folders in it{manifest}.")
    present = [name for name in ("train", "val", "test") if (folder / name).is_dir()]
    if present and "train" not in present:
        raise ValueError(f"{folder} has {'/, '.join(present)}/ and no train/. Add it, or rename.")
    return {name: _classes(folder / name) for name in present} or {"all": _classes(folder)}


def class_differences(found):
    """Compare the classes of the splits that `list_files` found with those of train.

    Returns:
        {split: (classes only in train, classes only in the split)} of the splits that differ.
    """
    train = set(found.get("train", ()))
    splits = {name: (sorted(train - set(c)), sorted(set(c) - train)) for name, c in found.items() if name != "all"}
    return {name: classes for name, classes in splits.items() if any(classes)}


def is_image(path):
    """Whether the file's suffix is that of an image format that training reads."""
    return path.lower().endswith(IMAGE_SUFFIXES)


def _classes(folder):
    entries = [entry for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
    return {entry.name: _files(entry.path) for entry in sorted(entries, key=lambda entry: entry.name)}


def _files(folder):
    walk = os.walk(folder)
    return sorted(os.path.join(path, name) for path, _, names in walk for name in names if not name.startswith("."))


def _split(folder, classes):
    if len(classes) < 2:
        shards = ' It holds shards, which take dataset="records".' if (folder / "index.json").is_file() else ""
        raise ValueError(
            f"A data set needs two class folders or more. {folder} has {len(classes)}: {list(classes)}.{shards}"
        )
    images = {name: [file for file in files if is_image(file)] for name, files in classes.items()}
    for name, files in images.items():
        if not files:
            raise ValueError(
                f"The class folder {folder / name} holds no image ({', '.join(IMAGE_SUFFIXES)}). "
                "Put some in, or remove the folder."
            )
    counts = [len(files) for files in images.values()]
    names = tuple(file for files in images.values() for file in files)
    return Split(names, np.repeat(np.arange(len(counts), dtype="int32"), counts))
