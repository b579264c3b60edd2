"""What helps when classes are uneven: weights, drawing and focal loss, on a thinned Fashion-MNIST.

    apt install dataset-fashion-mnist
    python -m examples.uneven_classes --output runs/uneven             (six remedies, three seeds)
    python -m examples.uneven_classes --output runs/uneven --remedies none drawn-balanced --seeds 0 --csv uneven.csv

Of the first class 2,000 images are kept, of the last 20, and of those between geometrically fewer from one to the next
(`examples.fashion_mnist.thinned`); all 10,000 test images are measured. A small ViT is trained from scratch with one
recipe; a remedy changes only the settings that it names. The same command continues where it was stopped.
"""

import argparse
from pathlib import Path

import numpy as np

from examples import fashion_mnist, tables
from keras_vit import Predictor
from keras_vit.evaluation import evaluate
from keras_vit.evaluation.images import find_images
from keras_vit.training.trainer import train

TRAIN, RAREST = (20_000, 0.01)  # images before thinning, and what the last class keeps of them
FREQUENT = 5  # classes: the more frequent half
REMEDIES = {
    "none": {},
    "weights-balanced": {"class_weights": "balanced"},
    "weights-effective": {"class_weights": "effective"},
    "drawn-balanced": {"sampler": "balanced"},
    "drawn-sqrt": {"sampler": "sqrt"},
    "focal": {"loss": "focal"},
}
COLUMNS = {
    "balanced_accuracy": "balanced accuracy, %",
    "frequent_half": "frequent half, %",
    "rare_half": "rare half, %",
    "rarest": "rarest class, %",
}


def train_with(remedy, seed, data, output):
    """Train with a remedy, or continue its run: its row of the table."""
    folder = output / f"{remedy}-{seed}"
    recipe = fashion_mnist.RECIPE.replace(eval_metric="balanced_accuracy", **REMEDIES[remedy])
    train(recipe.replace(data_dir=str(data), seed=seed), folder)
    predictor = Predictor.open(folder)
    predictions = evaluate(predictor, find_images(data, predictor.labels, split="test"), batch_size=100)
    right, number = predictions.hits[:, 0], fashion_mnist.CLASSES.index
    order = np.array([number(predictor.labels[label]) for label in predictions.labels])  # 0 the most frequent
    recall = np.array([right[order == k].mean() for k in range(len(fashion_mnist.CLASSES))])
    return {
        "remedy": remedy,
        "seed": seed,
        "balanced_accuracy": round(100 * recall.mean(), 2),
        "frequent_half": round(100 * recall[:FREQUENT].mean(), 2),
        "rare_half": round(100 * recall[FREQUENT:].mean(), 2),
        "rarest": round(100 * recall[-1], 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the data and of the run folders")
    parser.add_argument("--source", type=Path, default=fashion_mnist.SOURCE, help="folder of Fashion-MNIST's files")
    parser.add_argument("--remedies", nargs="+", choices=REMEDIES, default=list(REMEDIES), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    data = options.output / "data"
    if not data.is_dir():
        fashion_mnist.write_folders(options.source, data, TRAIN, RAREST)
    rows = [train_with(remedy, seed, data, options.output) for seed in options.seeds for remedy in options.remedies]
    print(tables.markdown(rows, ("remedy",), COLUMNS))
    if options.csv:
        tables.write(rows, options.csv)


if __name__ == "__main__":
    main()
