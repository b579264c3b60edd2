"""Progressive resizing against training at one size, on Fashion-MNIST.

    apt install dataset-fashion-mnist
    python -m examples.growing_sizes --output runs/sizes               (three seeds)
    python -m examples.growing_sizes --output runs/sizes --schedules "20@0,28@0.5" --seeds 0 --csv sizes.csv

All trainings have the same epochs and the same recipe, and all are validated and tested at the same size; they differ
in the sizes of the training images alone. A small ViT is trained from scratch on 10,000 images; the best epoch is
chosen on a tenth of them, and the 10,000 test images are used once. The same command continues where it was stopped.
Seconds are those of the training steps; compare them on an otherwise idle machine.
"""

import argparse
from pathlib import Path

import keras

from examples import fashion_mnist, tables
from keras_vit.sources.run_folder import RUN, read_entries
from keras_vit.training.trainer import train

TRAIN = 10_000  # images
SIZE = "28"  # of the plain trainings
SCHEDULES = ("20@0,28@0.7",)
COLUMNS = {"top1": "test, %", "seconds": "seconds"}


def train_over(sizes, seed, data, output):
    """Train at one size or over a schedule of sizes, or continue the run: its row of the table."""
    keras.utils.clear_session(free_memory=True)
    grows = {"img_size": None, "img_size_schedule": sizes} if "@" in sizes else {}
    folder = output / f"{sizes.replace('@', '-').replace(',', '_')}-{seed}"
    results = train(fashion_mnist.RECIPE.replace(data_dir=str(data), seed=seed, **grows), folder)
    seconds = round(read_entries(folder / RUN)["train_seconds"])
    return {"sizes": sizes, "seed": seed, "top1": round(results["top1"], 2), "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the data and of the run folders")
    parser.add_argument("--source", type=Path, default=fashion_mnist.SOURCE, help="folder of Fashion-MNIST's files")
    parser.add_argument("--schedules", nargs="+", default=list(SCHEDULES), metavar="SCHEDULE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    data = options.output / "data"
    if not data.is_dir():
        fashion_mnist.write_folders(options.source, data, TRAIN)
    rows = [
        train_over(sizes, seed, data, options.output) for seed in options.seeds for sizes in (SIZE, *options.schedules)
    ]
    print(tables.markdown(rows, ("sizes",), COLUMNS))
    if options.csv:
        tables.write(rows, options.csv)


if __name__ == "__main__":
    main()
