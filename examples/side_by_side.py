"""Families side by side on the handwritten digits: parameters, accuracy, latency, and attention.

    python -m examples.digits --output runs/families
    python -m examples.side_by_side runs/families --output runs/families/side_by_side.png

Reads the run folders of `examples.digits` (or any others whose models have the same classes), times every model on one
image, and plots a row per model: its numbers, and the attention rollout (arXiv:2005.00928) of the same test digits, or,
for a model without attention weights, a note. It prints the numbers as a table. Latency is the median of 50 calls of
the model as a TensorFlow graph, one image, on all cores of this machine.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import keras_vit
from keras_vit.analysis import attention_rollout
from keras_vit.preprocessing import read_image
from keras_vit.sources.run_folder import RUN
from keras_vit.system.files import atomic_file

IMAGES = 4  # test digits in the figure
CALLS = 50  # timed, after as many to warm up
WIDTH, PANEL = 3.0, 1.05  # of the texts, and of an image with its margin, in inches


@dataclass(frozen=True)
class Entry:
    """The measurements of a model."""

    name: str
    parameters: int
    top1: float  # percent of the test images
    milliseconds: float  # one image
    rollout: np.ndarray | None  # (images, H, W), each summing to 1; None without attention weights

    def line(self):
        """The numbers as text."""
        return f"{self.parameters:>10,}  {self.top1:>6.2f} %  {self.milliseconds:>6.2f} ms"


def finished_runs(folder):
    """The finished runs in a folder, by name."""
    described = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*/{RUN}"))}
    runs = [path for path, entries in described.items() if entries.get("finished")]
    if not runs:
        raise ValueError(f"{folder} holds no finished run. Expected run folders, as examples.digits writes them.")
    return runs


def measure(folder, files):
    """The `Entry` of a run, with the rollout of the images."""
    predictor = keras_vit.Predictor.open(folder)
    images = keras_vit.preprocess_input(np.stack([predictor.prepare(path) for path in files]), predictor.spec)
    top1 = json.loads((folder / RUN).read_text(encoding="utf-8"))["held_out"]["top1"]
    milliseconds, rollout = latency(predictor.model, images[:1]), rollout_of(predictor.model, images)
    return Entry(predictor.name, predictor.parameters, top1, milliseconds, rollout)


def rollout_of(model, images):
    """Attention rollout; None for a model without attention (ConvNeXt) or with weights of both signs (CoaT)."""
    try:
        return attention_rollout(model, images)
    except ValueError:
        return None


def latency(model, image):
    """Median milliseconds for one image."""
    import tensorflow as tf

    forward, image = tf.function(lambda x: model(x, training=False), autograph=False), tf.constant(image)
    milliseconds = []
    for _ in range(2 * CALLS):
        start = time.perf_counter()
        forward(image).numpy()
        milliseconds.append(1000 * (time.perf_counter() - start))
    return float(np.median(milliseconds[CALLS:]))


def draw(entries, files):
    """A matplotlib Figure: the images in the first row, then a row per model."""
    from matplotlib.figure import Figure

    rows = 1 + len(entries)
    figure = Figure(figsize=(WIDTH + PANEL * len(files), PANEL * rows + 0.5))
    ratios = [WIDTH / PANEL, *[1] * len(files)]
    axes = figure.subplots(rows, 1 + len(files), width_ratios=ratios, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    images = [read_image(path) for path in files]
    for axis, image in zip(axes[0, 1:], images):
        axis.imshow(image, extent=(0, 1, 0, 1))
    write(axes[0, 0], "test digit", "below: attention rollout, from 0 (dark)\nto the maximum of the image (yellow)")
    for row, entry in zip(axes[1:], entries):
        numbers = f"{entry.parameters:,} parameters\n{entry.top1:.2f} % test, {entry.milliseconds:.2f} ms"
        write(row[0], entry.name, numbers)
        for i, axis in enumerate(row[1:]):
            if entry.rollout is None:
                axis.text(0.5, 0.5, "no attention\nweights", ha="center", va="center", fontsize=8, color="0.4")
            else:
                axis.imshow(entry.rollout[i], extent=(0, 1, 0, 1), cmap="viridis", vmin=0)
    figure.suptitle("Families side by side on the handwritten digits", x=0.02, ha="left", fontsize=12)
    figure.subplots_adjust(
        left=0.02, right=0.99, bottom=0.01, top=1 - 0.5 / (PANEL * rows + 0.5), wspace=0.08, hspace=0.08
    )
    return figure


def write(axis, name, text):
    """Write a model's name and numbers."""
    axis.text(0, 0.72, name, fontsize=10, fontweight="bold", va="center", transform=axis.transAxes)
    axis.text(0, 0.32, text, fontsize=8.5, va="center", transform=axis.transAxes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of run folders")
    parser.add_argument("--output", type=Path, required=True, help="the figure, .png")
    options = parser.parse_args()
    runs = finished_runs(options.folder)
    files = [path for path, _ in keras_vit.load_run(runs[0]).test_images()[:IMAGES]]
    entries = [measure(folder, files) for folder in runs]
    width = max(len(entry.name) for entry in entries)
    print("\n".join(f"{entry.name:{width}}  {entry.line()}" for entry in entries))
    with atomic_file(options.output) as temporary:
        draw(entries, files).savefig(temporary, dpi=130)


if __name__ == "__main__":
    main()
