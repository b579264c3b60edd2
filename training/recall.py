"""The training split of a finished run, loaded again: to calibrate or measure on images that the run was trained on."""

from keras_vit.system import places
from keras_vit.training.datasets.load import load_dataset
from keras_vit.training.datasets.splits import fingerprint
from keras_vit.training.recipe import Recipe
from keras_vit.training.run import logs

# Settings that determine the splits; runs of before there was one of them lack it.
WHERE = ("model", "dataset", "data_dir", "train_split", "val_split", "target_key", "seed")


def training_split(folder):
    """The training `Split` of a run.

    Raises:
        ValueError: if its data set is missing, or not the one that the run had: then its training images cannot be
            told from its test images.
    """
    settings = logs.read_settings(folder)
    if settings is None:
        raise ValueError(f"{folder} does not say what it was trained on: it has no args.yaml.")
    recipe = Recipe(**{name: settings[name] for name in WHERE if name in settings})
    where = recipe.dataset if recipe.data_dir is None else f"{recipe.dataset}, {places.absolute(recipe.data_dir)}"
    try:
        data_set = load_dataset(recipe)
    except (ValueError, OSError, ImportError) as error:
        raise ValueError(f"The images that {folder} was trained on ({where}) are not there: {error}") from error
    if fingerprint(data_set, recipe.data_dir) != settings.get("data_sha256"):
        raise ValueError(
            f"The images that {folder} was trained on ({where}) have changed since, "
            "and may include images of its test split."
        )
    return data_set.train
