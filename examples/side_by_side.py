"""Families side by side on the handwritten digits: parameters, accuracy, latency, and where they look.

    python -m examples.digits --output runs/families
    python -m examples.side_by_side runs/families --output runs/families/side_by_side.png

Reads the run folders that `examples.digits` leaves (or any others whose models have the same classes), times every
model on one picture, and draws a row per model: its figures, and the attention rollout (arXiv:2005.00928) of the same
held-out digits, or, where a model has no attention weights to follow, a note. It prints the figures as a table.
Latency is the median of 50 calls of the model as a TensorFlow graph, one picture, on all cores of this machine.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.analysis import attention_rollout
from keras_vit.files import atomic_file
from keras_vit.predictor import open_predictor
from keras_vit.preprocessing import normalize, read_image
from keras_vit.runs import RUN, Run

PICTURES = 4  # held-out digits that are shown
CALLS = 50  # timed, after as many that are not
WIDTH, PANEL = 3.0, 1.05  # of the texts, and of a picture with its margin, in inches


@dataclass(frozen=True)
class Entry:
    """A model, measured."""

    name: str
    parameters: int
    top1: float  # percent of the held-out pictures
    milliseconds: float  # one picture
    rollout: np.ndarray | None  # (pictures, H, W), each summing to 1; None without attention weights

    def line(self):
        """The figures as text."""
        return f"{self.parameters:>10,}  {self.top1:>6.2f} %  {self.milliseconds:>6.2f} ms"


def finished_runs(folder):
    """The finished runs in a folder, by name."""
    described = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*/{RUN}"))}
    runs = [path for path, entries in described.items() if entries.get("finished")]
    if not runs:
        raise ValueError(f"{folder} holds no finished run. Expected run folders, as examples.digits leaves them.")
    return runs


def measure(folder, files):
    """The entry of a run, looked into on the pictures."""
    run = Run.open(folder)
    model, predictor = run.load_model(), open_predictor(folder)
    images = normalize(np.stack([predictor.prepare(str(path)) for path in files]), run.spec)
    results = json.loads((folder / RUN).read_text(encoding="utf-8"))["held_out"]
    return Entry(run.name, model.count_params(), results["top1"], latency(model, images[:1]), rollout_of(model, images))


def rollout_of(model, images):
    """Attention rollout; None of a model that has none, ConvNeXt, or of weights of both signs, CoaT."""
    try:
        return attention_rollout(model, images)
    except ValueError:
        return None


def latency(model, image):
    """Median milliseconds for one picture."""
    import tensorflow as tf

    forward, image = tf.function(lambda x: model(x, training=False), autograph=False), tf.constant(image)
    milliseconds = []
    for _ in range(2 * CALLS):
        start = time.perf_counter()
        forward(image).numpy()
        milliseconds.append(1000 * (time.perf_counter() - start))
    return float(np.median(milliseconds[CALLS:]))


def draw(entries, files):
    """A matplotlib Figure: the pictures in the first row, then a row per model."""
    from matplotlib.figure import Figure

    rows = 1 + len(entries)
    figure = Figure(figsize=(WIDTH + PANEL * len(files), PANEL * rows + 0.5))
    ratios = [WIDTH / PANEL, *[1] * len(files)]
    axes = figure.subplots(rows, 1 + len(files), width_ratios=ratios, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    pictures = [read_image(path) for path in files]
    for axis, picture in zip(axes[0, 1:], pictures):
        axis.imshow(picture, extent=(0, 1, 0, 1))
    write(
        axes[0, 0], "held-out digit", "below: attention rollout, from 0 (dark)\nto the largest of the picture (yellow)"
    )
    for row, entry in zip(axes[1:], entries):
        figures = f"{entry.parameters:,} parameters\n{entry.top1:.2f} % held out, {entry.milliseconds:.2f} ms"
        write(row[0], entry.name, figures)
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
    """A model's name and figures."""
    axis.text(0, 0.72, name, fontsize=10, fontweight="bold", va="center", transform=axis.transAxes)
    axis.text(0, 0.32, text, fontsize=8.5, va="center", transform=axis.transAxes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of run folders")
    parser.add_argument("--output", type=Path, required=True, help="the picture, .png")
    options = parser.parse_args()
    runs = finished_runs(options.folder)
    files = [path for path, _ in Run.open(runs[0]).held_out()[:PICTURES]]
    entries = [measure(folder, files) for folder in runs]
    width = max(len(entry.name) for entry in entries)
    print("\n".join(f"{entry.name:{width}}  {entry.line()}" for entry in entries))
    with atomic_file(options.output) as temporary:
        draw(entries, files).savefig(temporary, dpi=130)


if __name__ == "__main__":
    main()
