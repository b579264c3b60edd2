"""A small model trained, and what the tables say of it."""

import json

import keras_vit
from examples.tables import read
from keras_vit.sources.run_folder import RUN, SUMMARY
from keras_vit.training import recipe
from keras_vit.training.trainer import train

QUICKSTART = recipe.load("quickstart")


def train_small(variant, folder, base=QUICKSTART, **settings):
    """Train `variant` into the run folder, or continue the run that is there.

    Args:
        variant: a `keras_vit.models.family.Variant`.
        folder: of the run.
        base: the recipe; the quickstart's trains on the handwritten digits.
        settings: changes to the recipe.

    Returns:
        A dictionary: parameters, epochs and best_epoch (from 1), accuracies in percent (val_top1 of that epoch on the
        validation images, top1 on the test images), and the seconds of training.
    """
    results = train(base.replace(model=variant.name, variant=variant, **settings), folder)
    described = json.loads((folder / RUN).read_text(encoding="utf-8"))
    history = read(folder / SUMMARY)
    return {
        "parameters": keras_vit.load_run(folder).load_model().count_params(),
        "epochs": len(history),
        "best_epoch": described["best_epoch"] + 1,
        "val_top1": round(float(history[described["best_epoch"]]["eval_top1"]), 2),
        "top1": round(results["top1"], 2),
        "seconds": round(described["train_seconds"]),
    }
