"""The images of docs/looking_inside.md that need a classifier, Swin or ConvNeXt:

    python -m docs.figures.make --runs runs/families

They show what small models have learnt on the digits, trained by

    python -m examples.digits --output runs/families --families ViT Swin ConvNeXt

and run on test digits. Everything is drawn by `keras_vit.analysis`.
"""

import argparse
from pathlib import Path

import numpy as np

import keras_vit
from keras_vit import analysis, preprocess_input
from keras_vit.preprocessing import read_image, resize
from keras_vit.system.files import atomic_file

IMAGES = Path(__file__).parents[1] / "images"
DIGITS = (0, 2, 3, 4, 6, 8)  # shown where several are
AVERAGED = 128  # images of a mean, as in the ViT paper
DPI = 110


def figures(runs):
    """{file name: figure}"""
    vit, swin, convnext = (keras_vit.load_run(runs / f"{name}_digits-0") for name in ("vit", "swin", "convnext"))
    pixels, many = shown(vit), np.stack([image for image, _ in labelled_images(vit)[:AVERAGED]])
    images = preprocess_input(pixels, vit.spec)
    model, convolutions = vit.load_model(), convnext.load_model()
    names = ("stage0_block0", "stage0_block1", "stage1_block1")
    fields = {
        name: analysis.effective_receptive_field(convolutions, preprocess_input(many, convnext.spec), layer=name)
        for name in names
    }
    return {
        "relevance": analysis.plot_relevance(pixels, analysis.relevance(model, images), [f"digit {d}" for d in DIGITS]),
        "biases": analysis.plot_relative_position_biases(analysis.relative_position_biases(swin.load_model())),
        "field": analysis.plot_effective_receptive_field(fields),
    }


def labelled_images(run):
    """The run's test images, resized, with the numbers of their classes."""
    return [(resize(read_image(path), run.spec).numpy(), label) for path, label in run.test_images()]


def shown(run):
    """The first test image of each of DIGITS, (B, H, W, 3) in [0, 255]."""
    images = labelled_images(run)
    return np.stack([next(image for image, label in images if label == digit) for digit in DIGITS])


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
