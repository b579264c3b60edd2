"""Progressive resizing against training at one size, on the 1,797 handwritten digits.

    python -m examples.growing_sizes --output runs/sizes                    (three seeds)
    python -m examples.growing_sizes --output runs/sizes --families ViT --seeds 0 --csv sizes.csv

Both trainings have the same epochs and the same recipe, the quickstart's, and both are validated and tested at the same
size; they differ in the sizes of the training images alone. The best epoch is chosen on 180 validation digits; the 360
test digits are used once. The same command continues where it was stopped.
"""

import argparse
import statistics
from pathlib import Path

import keras

from examples.digit_runs import mean_and_range, train_on_digits, write
from examples.digits import FAMILIES, folder_of

SCHEDULES = {32: "16@0,32@0.5", 64: "32@0,64@0.5"}  # by the size of the family's images


def train_both(name, seed, output):
    """Train a family's small model at one size and over growing sizes, or continue these runs: a row for each."""
    small, rows = FAMILIES[name], []
    size = (small.img_size, small.img_size)
    for sizes in (str(small.img_size), SCHEDULES[small.img_size]):
        keras.utils.clear_session(free_memory=True)
        grows = {"img_size_schedule": sizes} if "@" in sizes else {}
        folder = folder_of(small, seed, output / ("growing" if grows else "plain"))
        facts = train_on_digits(small.variant, folder, img_size=size, epochs=small.epochs, seed=seed, **grows)
        rows.append({"family": name, "sizes": sizes, "seed": seed, **facts})
    return rows


def table(rows):
    """The rows as a Markdown table, a line per family and choice of sizes: accuracy and time over the seeds."""
    lines = [
        "| | sizes | epochs | seeds | test, mean % | lowest - highest | seconds, mean |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, sizes in dict.fromkeys((row["family"], row["sizes"]) for row in rows):
        own = [row for row in rows if (row["family"], row["sizes"]) == (name, sizes)]
        mean, spread = mean_and_range(row["top1"] for row in own)
        seeds = ", ".join(str(row["seed"]) for row in own)
        seconds = statistics.mean(row["seconds"] for row in own)
        lines.append(f"| {name} | {sizes} | {own[0]['epochs']} | {seeds} | {mean} | {spread} | {seconds:.0f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=["Swin", "ConvNeXt"], metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = [
        row for name in options.families for seed in options.seeds for row in train_both(name, seed, options.output)
    ]
    print(table(rows))
    if options.csv:
        write(rows, options.csv)


if __name__ == "__main__":
    main()
