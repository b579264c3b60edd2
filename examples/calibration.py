"""What temperature scaling and a score of unknown images give: small models on the digits and on Fashion-MNIST.

    apt install dataset-fashion-mnist
    python -m examples.calibration --output runs/calibration            (two data sets, three seeds)

Temperature and threshold are set on the validation split; the table is of the test split: the expected calibration
error of the probabilities as they would be without the temperature and as they are, and how well the energy tells the
test images from those of the other data set. The same command continues where it was stopped.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from examples import fashion_mnist, tables
from examples.small_runs import QUICKSTART
from keras_vit import Predictor
from keras_vit.evaluation import accuracy, evaluate
from keras_vit.evaluation.calibration import calibration
from keras_vit.evaluation.unknown import separation
from keras_vit.sources.run_folder import RUN, load_run, read_entries
from keras_vit.training.trainer import train

TRAIN = 10_000  # images of Fashion-MNIST
SETTINGS = {"temperature_scaling": True, "unknown_score": "energy"}
COLUMNS = {
    "top1": "accuracy, %",
    "temperature": "temperature",
    "before": "calibration error before, %",
    "after": "after, %",
    "auroc": "AUROC of the other data, %",
    "rejected": "of it rejected, %",
}


def train_on(name, seed, data, output):
    """Train on "digits" or "fashion", or continue the run; its folder."""
    folder = output / f"{name}-{seed}"
    fashion = fashion_mnist.RECIPE.replace(data_dir=str(data))
    train((QUICKSTART if name == "digits" else fashion).replace(seed=seed, **SETTINGS), folder)
    return folder


def measure(folder, unknown):
    """What a run's model gives on its test images, and on images of a folder that are of none of its classes."""
    predictor, images = Predictor.open(folder), load_run(folder).require_test_images()
    temperature = read_entries(folder / RUN)["temperature"]
    undivided = dataclasses.replace(predictor, run=without_temperature(predictor.run, temperature), run_known=None)
    before, after = (evaluate(one, images, batch_size=100) for one in (undivided, predictor))
    told = separation(predictor, after, unknown, batch_size=100)
    return {
        "top1": round(accuracy(after).top1, 2),
        "temperature": round(temperature, 3),
        "before": round(100 * calibration(before).error, 2),
        "after": round(100 * calibration(after).error, 2),
        "auroc": round(100 * told.auroc, 2),
        "rejected": round(100 * told.rejected, 2),
    }


def without_temperature(run, temperature):
    """A function as `run`, whose probabilities are of logits that are multiplied by the temperature again."""

    def undivided(images):
        logits = temperature * np.log(np.maximum(run(images), 1e-38))
        p = np.exp(logits - logits.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    return undivided


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the data and of the run folders")
    parser.add_argument("--source", type=Path, default=fashion_mnist.SOURCE, help="folder of Fashion-MNIST's files")
    parser.add_argument("--data", nargs="+", choices=("digits", "fashion"), default=["digits", "fashion"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    data, rows = options.output / "data", []
    if not data.is_dir():
        fashion_mnist.write_folders(options.source, data, TRAIN)
    digits = train_on("digits", options.seeds[0], data, options.output)  # whose test images the others do not know
    unknown = {"digits": data / "test", "fashion": digits / "held_out"}
    for name in options.data:
        for seed in options.seeds:
            folder = train_on(name, seed, data, options.output)
            rows.append({"data": name, "seed": seed, **measure(folder, unknown[name])})
    print(tables.markdown(rows, ("data",), COLUMNS))
    if options.csv:
        tables.write(rows, options.csv)


if __name__ == "__main__":
    main()
