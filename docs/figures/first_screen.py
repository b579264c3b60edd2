"""The image of docs/edge.md:  python -m docs.figures.first_screen

Trains a small ViT from scratch to say which of eight photographs a crop is from: on crops of their left halves, tested
on crops of their right halves. Then it converts the model to a dynamic_int8 .tflite file and draws what the two make
of a crop of the coffee's right half: the Keras model its attention, the file its labels, scores and time.
All figures in the image are measured by this run. Minutes on two cores; a second call takes up what the first left
below --work.

Six photographs lie in docs/figures/photographs (CC0 or public domain, credited there), two come with scikit-learn.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import keras_vit
from benchmarks.report import processor
from keras_vit import analysis
from keras_vit.export.edge import tflite
from keras_vit.export.model.source import open_source
from keras_vit.models import vit
from keras_vit.models.family import Variant
from keras_vit.system.files import atomic_file, atomic_folder
from keras_vit.training import recipe
from keras_vit.training.trainer import train

PHOTOGRAPHS = Path(__file__).with_name("photographs")
SKLEARN = {"flower": "flower.jpg", "temple": "china.jpg"}
SHOWN = "coffee"
CREDIT = "Photograph: Rachel Michetti (CC0), from scikit-image"
TARGET = Path(__file__).parents[1] / "images" / "first_screen.jpg"

SIDE = 128  # pixels of a crop
CROPS = {"train": 64, "val": 16, "test": 50}  # of each photograph
VIT = Variant("ViTPhotographs", vit.VIT, vit.Config(embed_dim=96, depth=6, num_heads=3, patch_size=8, mlp_ratio=2))
RECIPE = recipe.load("quickstart").replace(
    **{"model": VIT.name, "variant": VIT, "dataset": "folder", "img_size": (SIDE, SIDE), "epochs": 12},
    **{"shift": 0.0, "rotate": 0.0, "zoom": 0.0, "smoothing": 0.0},
    **{"hflip": 0.5, "scale": (0.3, 1.0), "color_jitter": 0.4, "reprob": 0.25},
)
TIMED = 300  # runs of the .tflite file

WIDTH, HEIGHT, DPI = 16, 5.2, 100  # of the figure: inches, dots per inch
INK, PALE, ACCENT = "#1f2933", "#6b7785", "#0072B2"


@dataclass(frozen=True)
class Measured:
    """What the run gave."""

    accuracy: float  # on the test crops, percent
    test_images: int
    parameters: int
    labels: tuple[str, ...]
    scores: np.ndarray  # (K,), of the .tflite file for the shown crop
    attention: np.ndarray  # (H, W), of the Keras model's class token in the last block, mean over heads
    megabytes: float
    milliseconds: float  # median of one image on one thread
    cpu: str


def photographs():
    """{class: photograph}, RGB and at most 300 pixels high."""
    from sklearn.datasets import load_sample_image

    found = {path.stem: Image.open(path).convert("RGB") for path in PHOTOGRAPHS.glob("*.jpg")}
    found |= {name: Image.fromarray(load_sample_image(file)) for name, file in SKLEARN.items()}
    for image in found.values():
        image.thumbnail((480, 300), Image.Resampling.LANCZOS)
    return dict(sorted(found.items()))


def halves(image):
    """Its left and right half."""
    width, height = image.size
    return image.crop((0, 0, width // 2, height)), image.crop((width // 2, 0, width, height))


def shown_box(image):
    """The square in the middle of the right half, as left, upper, right, lower."""
    width, height = image.size
    side = min(width - width // 2, height)
    upper = (height - side) // 2
    return width - side, upper, width, upper + side


def write_crops(folder, seed=0):
    """train/, val/ (both of left halves) and test/ (of right halves), with a folder of crops per photograph."""
    if folder.exists():
        return
    draw = np.random.default_rng(seed)
    with atomic_folder(folder) as temporary:
        for name, image in photographs().items():
            left, right = halves(image)
            for split, half, smallest in (("train", left, 0.4), ("val", left, 0.4), ("test", right, 0.6)):
                (temporary / split / name).mkdir(parents=True)
                for i in range(CROPS[split]):
                    side = int(draw.uniform(smallest, 1) * min(half.size))
                    x, y = (int(draw.integers(0, length - side + 1)) for length in half.size)
                    crop = half.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                    crop.save(temporary / split / name / f"{i:03}.png")


def measure(work):
    """Train, convert, and ask both for the shown crop."""
    write_crops(work / "data")
    results = train(RECIPE.replace(data_dir=str(work / "data")), work / "run")
    source = open_source(work / "run")
    report = tflite.convert(source, work / "edge", ("dynamic_int8",), runs=TIMED)
    entry = report["files"][0]
    image = photographs()[SHOWN]
    crop = image.crop(shown_box(image)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    predictor = keras_vit.Predictor.open(work / "edge" / entry["file"])
    inputs = keras_vit.preprocess_input(np.asarray(crop)[None], source.spec)
    maps = analysis.attention_maps(source.model, inputs)
    return Measured(
        accuracy=results["top1"],
        test_images=results["n_images"],
        parameters=source.model.count_params(),
        labels=predictor.labels,
        scores=predictor.predict([np.asarray(crop)])[0],
        attention=list(maps.values())[-1].of_token()[0].mean(axis=0),
        megabytes=entry["size_bytes"] / 1e6,
        milliseconds=entry["latency_ms"]["p50"],
        cpu=processor(),
    )


def draw(measured):
    """Photograph, attention, and the file's labels side by side.  matplotlib Figure."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    image = photographs()[SHOWN]
    with rc_context({"font.size": 13, "text.color": INK}):
        figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
        wide, tall = 4.0 * image.width / image.height, 4.0
        middle, right = 0.6 + wide, 1.1 + wide + tall
        _draw_photograph(_panel(figure, 0.3, 0.75, wide, tall), image)
        _draw_attention(_panel(figure, middle, 0.75, tall, tall), image, measured)
        _draw_scores(_panel(figure, right + 1.15, 2.35, 2.9, 2.4), measured)
        _draw_time(figure, right, measured)
        titles = (
            *((0.3, "the left half was for training, the framed crop is new"), (right, "labels of the int8 file")),
            (middle, "attention of the class token, last block"),
        )
        for left, title in titles:
            figure.text(left / WIDTH, 4.85 / HEIGHT, title)
        facts = (
            f"Model: a ViT of {measured.parameters / 1e6:.2f} M parameters, trained from scratch for this image to say "
            f"which of {len(measured.labels)} photographs a crop is from.\n"
            "Trained on crops of their left halves, it names "
            f"{measured.accuracy:.1f} % of {measured.test_images} crops of their right halves. {CREDIT}."
        )
        figure.text(0.3 / WIDTH, 0.16 / HEIGHT, facts, fontsize=11, color=PALE, linespacing=1.4)
    return figure


def _panel(figure, left, bottom, width, height):
    """Axes at a place given in inches."""
    return figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))


def _draw_photograph(axes, image):
    """The whole photograph, pale where crops for training came from, with a frame around the shown crop."""
    from matplotlib.patches import Rectangle

    left, upper, right, lower = shown_box(image)
    axes.imshow(image, interpolation="lanczos")
    axes.add_patch(Rectangle((-0.5, -0.5), image.width // 2, image.height, color="white", alpha=0.45, lw=0))
    axes.add_patch(Rectangle((left, upper), right - left - 2, lower - upper, fill=False, edgecolor=ACCENT, lw=3))
    axes.set_axis_off()


def _draw_attention(axes, image, measured):
    from keras_vit.analysis.attention_figures import HEAT

    crop = image.crop(shown_box(image)).convert("L").resize((4 * SIDE, 4 * SIDE), Image.Resampling.LANCZOS)
    axes.imshow(crop, cmap="gray", vmin=-120, vmax=340, extent=(0, 1, 1, 0))
    axes.imshow(measured.attention, cmap=HEAT, alpha=0.6, interpolation="bicubic", extent=(0, 1, 1, 0))
    axes.set_axis_off()


def _draw_scores(axes, measured, shown=4):
    """Bars of the best labels."""
    best = measured.scores.argsort()[::-1][:shown]
    axes.barh(range(shown), measured.scores[best], color=[ACCENT] + ["#b8c4ce"] * (shown - 1), height=0.62)
    axes.set_ylim(shown - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_yticks(range(shown), [measured.labels[i] for i in best])
    axes.tick_params(length=0, colors=INK, labelbottom=False)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    for place, i in enumerate(best):
        inside = measured.scores[i] > 0.6
        axes.text(
            *(measured.scores[i] + (-0.02 if inside else 0.02), place, f"{100 * measured.scores[i]:.1f} %"),
            **{"va": "center", "ha": "right" if inside else "left", "color": "white" if inside else INK},
        )


def _draw_time(figure, left, measured):
    time = f"{measured.milliseconds:.1f} ms"
    figure.text(left / WIDTH, 1.45 / HEIGHT, time, fontsize=34, color=ACCENT, weight="bold")
    detail = f"per image: dynamic_int8 .tflite file, {measured.megabytes:.2f} MB\n1 thread, {measured.cpu}"
    figure.text(left / WIDTH, 0.8 / HEIGHT, detail, fontsize=12, color=PALE, linespacing=1.4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/first_screen"), help="for crops, run and .tflite file")
    parser.add_argument("--output", type=Path, default=TARGET)
    arguments = parser.parse_args()
    figure = draw(measure(arguments.work))
    with atomic_file(arguments.output) as temporary:
        figure.savefig(temporary, format="jpg", dpi=DPI, pil_kwargs={"quality": 92, "subsampling": 0})


if __name__ == "__main__":
    main()
