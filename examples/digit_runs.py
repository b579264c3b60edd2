"""Shared by the examples on the handwritten digits: training a small model, and tables of such trainings."""

import csv
import json
import statistics

import keras_vit
from keras_vit.sources.run_folder import RUN, SUMMARY
from keras_vit.system.files import atomic_file
from keras_vit.training import recipe
from keras_vit.training.trainer import train

QUICKSTART = recipe.load("quickstart")


def train_on_digits(variant, folder, **settings):
    """Train `variant` into the run folder with the quickstart's recipe, or continue the run that is there.

    Args:
        variant: a `keras_vit.models.family.Variant`.
        folder: of the run.
        settings: changes to the quickstart's recipe.

    Returns:
        A dictionary: parameters, epochs and best_epoch (from 1), accuracies in percent (val_top1 of that epoch on the
        validation digits, top1 on the test digits), and the seconds of training.
    """
    results = train(QUICKSTART.replace(model=variant.name, variant=variant, **settings), folder)
    described = json.loads((folder / RUN).read_text(encoding="utf-8"))
    history = read(folder / SUMMARY)
    return {
        "parameters": keras_vit.load_run(folder).load_model().count_params(),
        "epochs": len(history),
        "best_epoch": described["best_epoch"] + 1,
        "val_top1": round(float(history[described["best_epoch"]]["eval_top1"]), 2),
        "top1": round(results["top1"], 2),
        "seconds": described["train_seconds"],
    }


def mean_and_range(values):
    """The mean and the range of values, as texts; the range of a single value is empty."""
    values = [float(value) for value in values]
    spread = f"{min(values):.2f} - {max(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}", spread


def read(path):
    """The rows of a CSV file as dictionaries of texts; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(rows, path):
    """Write dictionaries as CSV."""
    with atomic_file(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
