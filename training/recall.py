"""The pictures that a finished run was trained on, found again: for measuring, after training, on what it has seen."""

from pathlib import Path

from keras_vit.training import data, logs
from keras_vit.training.parts import fingerprint
from keras_vit.training.recipe import Recipe

WHERE = ("model", "dataset", "data_dir", "train_split", "val_split", "seed")  # by which a recipe finds its data set


def training_part(folder):
    """The training `Part` of a run.

    Raises: ValueError if its data set is not there any more, or is another than the run had: then what it was trained
        on cannot be told from what was held out.
    """
    settings = logs.read_settings(folder)
    if settings is None:
        raise ValueError(f"{folder} does not say what it was trained on: it has no args.yaml.")
    recipe = Recipe(**{name: settings[name] for name in WHERE})
    where = recipe.dataset if recipe.data_dir is None else f"{recipe.dataset}, {Path(recipe.data_dir).absolute()}"
    try:
        data_set = data.load(recipe)
    except (ValueError, OSError, ImportError) as error:
        raise ValueError(f"The pictures that {folder} was trained on ({where}) are not there: {error}") from error
    if fingerprint(data_set, recipe.data_dir) != settings.get("data_sha256"):
        raise ValueError(
            f"The pictures that {folder} was trained on ({where}) have changed since, "
            "and may hold some that the run held out."
        )
    return data_set.train
