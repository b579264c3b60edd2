"""The pictures of docs/looking_inside.md:  python -m docs.figures.make --runs runs/families

They show what small models of the digits have learnt, trained by

    python -m examples.digits --output runs/families --families ViT Swin ConvNeXt

and look at held-out digits. Everything is drawn by `keras_vit.analysis`.
"""

import argparse
from pathlib import Path

import numpy as np

from keras_vit import analysis
from keras_vit.files import atomic_file
from keras_vit.preprocessing import preprocess_input, read_image, resize
from keras_vit.runs import Run

IMAGES = Path(__file__).parents[1] / "images"
DIGITS = (0, 2, 3, 4, 6, 8)  # shown where several are
AVERAGED = 128  # pictures that means are taken over, as many as in the ViT paper
DPI = 110


def figures(runs):
    """{file name: figure}"""
    vit, swin, convnext = (Run.open(runs / f"{name}_digits-0") for name in ("vit", "swin", "convnext"))
    pictures, many = shown(vit), np.stack([picture for picture, _ in held_out(vit)[:AVERAGED]])
    images, inputs = preprocess_input(pictures, vit.spec), preprocess_input(many, vit.spec)
    model, convolutions = vit.load_model(), convnext.load_model()
    names = ("stage0_block0", "stage0_block1", "stage1_block1")
    fields = {
        name: analysis.effective_receptive_field(convolutions, preprocess_input(many, convnext.spec), layer=name)
        for name in names
    }
    return {
        "attention": analysis.plot_attention_maps(analysis.attention_maps(model, images[1:2]), images[1:2]),
        "distance": analysis.plot_mean_attention_distance(analysis.mean_attention_distance(model, inputs)),
        "rollout": analysis.plot_attention_rollout(images, analysis.attention_rollout(model, images)),
        "relevance": analysis.plot_relevance(
            pictures, analysis.relevance(model, images), [f"digit {d}" for d in DIGITS]
        ),
        "positions": analysis.plot_position_similarity(analysis.position_similarity(model)),
        "biases": analysis.plot_relative_position_biases(analysis.relative_position_biases(swin.load_model())),
        "field": analysis.plot_effective_receptive_field(fields),
    }


def held_out(run):
    """The run's held-out pictures, resized, with the numbers of their classes."""
    return [(resize(read_image(path), run.spec).numpy(), label) for path, label in run.held_out()]


def shown(run):
    """The first held-out picture of each of DIGITS, (B, H, W, 3) in [0, 255]."""
    pictures = held_out(run)
    return np.stack([next(picture for picture, label in pictures if label == digit) for digit in DIGITS])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="the folder of the three runs")
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    for name, figure in figures(arguments.runs).items():
        with atomic_file(IMAGES / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=DPI)


if __name__ == "__main__":
    main()
