"""The data set that a recipe names."""

import dataclasses

from keras_vit.system.data_cache import DataCache
from keras_vit.training.datasets import digits, folders, manifest, shards, tfds

DATA_DIR = {
    "folder": "a folder of class folders",
    "csv": "the path of a manifest with the columns path,label",
    "records": "a folder that `keras-vit prepare-data` wrote",
}


def load_dataset(recipe):
    """Load the data set that `dataset`, `data_dir` and the further data settings of the recipe name.

    The images themselves are not read.

    Returns:
        A splits.DataSet.
    Raises:
        ValueError: if `data_dir` is missing, or the source does not exist or is invalid.
    """
    data_set = _load(recipe)
    if recipe.data_cache is None:
        return data_set
    fetch = DataCache(recipe.data_cache, recipe.data_cache_gb).read
    return dataclasses.replace(data_set, **{name: split.fetching(fetch) for name, split in data_set.splits().items()})


def _load(recipe):
    if recipe.dataset == "digits":
        return digits.load()
    if recipe.dataset.startswith("tfds/"):
        name = recipe.dataset.removeprefix("tfds/")
        return tfds.load(name, recipe.data_dir, recipe.train_split, recipe.val_split, recipe.target_key)
    if recipe.data_dir is None:
        raise ValueError(f"dataset={recipe.dataset!r} needs data_dir: {DATA_DIR[recipe.dataset]}.")
    if recipe.dataset == "records":
        return shards.load(recipe.data_dir)
    return {"folder": folders, "csv": manifest}[recipe.dataset].load(recipe.data_dir, recipe.seed)
