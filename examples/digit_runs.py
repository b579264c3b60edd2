"""What the examples on the handwritten digits share: a training of a small model, and tables of many of them."""

import csv
import json
import statistics

from keras_vit import runs
from keras_vit.files import atomic_file
from keras_vit.training import recipe
from keras_vit.training.trainer import train

QUICKSTART = recipe.load("quickstart")


def train_on_digits(variant, folder, **settings):
    """Train `variant` into the run folder with the quickstart's recipe, or take up what is there.

    Args:
        settings: what differs from the quickstart, by the recipe's names.
    Returns:  parameters, epochs and best_epoch (from 1), accuracies in percent (val_top1 of that epoch on the
        validation digits, top1 on the held-out ones), and the seconds that training took.
    """
    results = train(QUICKSTART.replace(model=variant.name, variant=variant, **settings), folder)
    described = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    history = read(folder / "summary.csv")
    return {
        "parameters": runs.Run.open(folder).load_model().count_params(),
        "epochs": len(history),
        "best_epoch": described["best_epoch"] + 1,
        "val_top1": round(float(history[described["best_epoch"]]["eval_top1"]), 2),
        "top1": round(results["top1"], 2),
        "seconds": described["train_seconds"],
    }


def mean_and_range(values):
    """The mean, and from where to where; the range of a single value is empty."""
    values = [float(value) for value in values]
    spread = f"{min(values):.2f} - {max(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}", spread


def read(path):
    """The rows of a CSV file as dictionaries of texts; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(rows, path):
    """Dictionaries as CSV."""
    with atomic_file(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
