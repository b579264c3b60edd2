"""The scripts of the pages' images run: of the digits and of trained weights on untrained models, of the
first screen on given figures."""

import itertools
import re

import numpy as np
import pytest

from docs.figures import first_screen, make, trained
from examples.digits import FAMILIES
from keras_vit.models import dinov2
from keras_vit.models.family import Variant
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import Run
from keras_vit.training.datasets import digits
from tests.docs.blocks import ROOT


def write_run(folder, small, data):
    """A run folder with an untrained model and the first hundred test digits."""
    side = small.img_size
    model = small.variant(weights=None, input_shape=(side, side, 3), classes=len(data.classes))
    spec = Spec((side, side), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    Run.write_description(folder, name="digits", model_name=model.name, labels=data.classes, spec=spec)
    model.save(folder / "model.keras")
    paths = [folder / f"{i}.png" for i in range(100)]
    for i, path in enumerate(paths):
        path.write_bytes(data.test.read(i))
    Run.write_test_images(folder, zip(paths, data.test.labels))


def untrained():
    """What `trained.models` returns, a hundredth of the size."""
    variant = Variant("Toy", dinov2.DINOV2, dinov2.Config(24, 1, 6))
    shapes = (trained.HEIGHT, trained.WIDTH, 3), (196, 196, 3)
    return tuple(variant(include_top=False, weights=None, input_shape=shape) for shape in shapes)


@pytest.mark.slow
def test_every_image_of_the_page_is_drawn(tmp_path):
    data = digits.load()
    for family, folder in (("ViT", "vit"), ("Swin", "swin"), ("ConvNeXt", "convnext")):
        write_run(tmp_path / f"{folder}_digits-0", FAMILIES[family], data)
    drawn = make.figures(tmp_path) | trained.figures(*untrained())
    page = (ROOT / "docs" / "looking_inside.md").read_text()
    assert page.count("](images/") == len(drawn) and all(f"(images/{name}.png)" in page for name in drawn)


def test_every_image_is_on_a_page():
    paths = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    pages = "".join(path.read_text(encoding="utf-8") for path in paths)
    assert set(re.findall(r"!\[.+\]\((?:docs/)?images/(.+)\)", pages)) == {path.name for path in make.IMAGES.iterdir()}


@pytest.mark.slow
def test_texts_of_the_image_of_trained_weights_lie_within_it():
    figure = trained.first(*untrained())
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in (*figure.texts, *(axes.title for axes in figure.axes))]
    assert len(boxes) == 6
    for box in boxes:
        assert 0 <= box.x0 and box.x1 <= figure.bbox.x1 and 0 <= box.y0 and box.y1 <= figure.bbox.y1


def test_photographs_keep_their_proportions():
    for name in trained.SHOWN:
        assert trained.photograph(name).shape == (trained.HEIGHT, trained.WIDTH, 3)


@pytest.mark.parametrize("milliseconds", [0.4, 123.4])
def test_texts_of_the_first_screen_do_not_overlap(milliseconds):
    scores = np.linspace(0, 0.9, 8)
    measured = first_screen.Measured(
        **{"accuracy": 100.0, "test_images": 400, "parameters": 10**6, "labels": tuple(first_screen.photographs())},
        **{"scores": scores, "attention": np.eye(16), "megabytes": 12.3, "milliseconds": milliseconds},
        cpu="A processor (family 25, model 17)",
    )
    figure = first_screen.draw(measured)
    figure.draw_without_rendering()
    shown = [axes.get_yticklabels() for axes in figure.axes if axes.axison]
    texts = itertools.chain(figure.texts, *(axes.texts for axes in figure.axes), *shown)
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == 14  # 3 titles, 4 labels, 4 scores, 2 texts of the time, 1 at the bottom
    for box in boxes:
        assert 0 <= box.x0 and box.x1 <= figure.bbox.x1 and 0 <= box.y0 and box.y1 <= figure.bbox.y1
    for one, other in itertools.combinations(boxes, 2):
        assert not (one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1)


def test_training_crops_of_the_first_screen_do_not_reach_the_shown_one():
    for image in first_screen.photographs().values():
        left, _ = first_screen.halves(image)
        box = first_screen.shown_box(image)
        assert box[0] >= left.width and box[2] - box[0] == box[3] - box[1]
        assert 0 <= box[1] < box[3] <= image.height and box[2] == image.width
