"""Several labels per image: two images of Fashion-MNIST side by side, with the labels of both.

    apt install dataset-fashion-mnist
    python -m examples.several_labels --output runs/pairs        (three losses and single images, three seeds)

What can be reached is measured on single images: a model of one label per image is trained on as many garments, and
its scores of every class are ranked the same way. Both are small ViTs, trained from scratch with one recipe; 5,000
pairs and 10,000 single images are tested. The same command continues where it was stopped.
"""

import argparse
from pathlib import Path

import numpy as np

from examples import fashion_mnist, tables
from keras_vit import Predictor
from keras_vit.evaluation.images import find_images
from keras_vit.evaluation.multilabel import mean_average_precision
from keras_vit.training.trainer import train

PAIRS = 4000  # to train on, of twice as many garments
LOSSES = ("bce", "focal", "asymmetric")
SEVERAL = fashion_mnist.RECIPE.replace(dataset="csv", img_size=(28, 56), eval_metric="map", smoothing=0.0)


def train_on_pairs(loss, seed, data, output):
    """Train on pairs with a loss, or continue its run: its row of the table."""
    manifest = data / "pairs" / "pairs.csv"
    results = train(SEVERAL.replace(data_dir=str(manifest), loss=loss, seed=seed), output / f"{loss}-{seed}")
    return {"images": "pairs", "loss": loss, "seed": seed, "map": round(results["map"], 2)}


def train_on_single_images(seed, data, output):
    """Train on as many single images, or continue the run: its row of the table."""
    folder = output / f"single-{seed}"
    train(fashion_mnist.RECIPE.replace(data_dir=str(data / "single"), seed=seed), folder)
    predictor = Predictor.open(folder)
    images = find_images(data / "single", predictor.labels, split="test")
    scores = predictor.predict((path for path, _ in images), batch_size=100)
    labels = np.eye(len(predictor.labels))[[label for _, label in images]]
    found = 100 * mean_average_precision(scores, labels)
    return {"images": "single", "loss": "cross entropy", "seed": seed, "map": round(found, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the data and of the run folders")
    parser.add_argument("--source", type=Path, default=fashion_mnist.SOURCE, help="folder of Fashion-MNIST's files")
    parser.add_argument("--losses", nargs="*", choices=LOSSES, default=list(LOSSES), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    data = options.output / "data"
    if not (data / "pairs").is_dir():
        fashion_mnist.write_pairs(options.source, data / "pairs", PAIRS)
    if not (data / "single").is_dir():
        fashion_mnist.write_folders(options.source, data / "single", 2 * PAIRS)
    rows = [train_on_single_images(seed, data, options.output) for seed in options.seeds]
    rows += [train_on_pairs(loss, seed, data, options.output) for loss in options.losses for seed in options.seeds]
    print(tables.markdown(rows, ("images", "loss"), {"map": "mAP, %"}))
    if options.csv:
        tables.write(rows, options.csv)


if __name__ == "__main__":
    main()
