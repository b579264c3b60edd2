"""The script of the pictures runs, on fresh models of the architectures that it is meant for."""

import re

import pytest

from docs.figures import make
from examples.digits import FAMILIES
from keras_vit.preprocessing import Spec
from keras_vit.runs import Run
from keras_vit.training import digits
from tests.docs.blocks import ROOT


def write_run(folder, small, data):
    """A run folder with a fresh model and the first hundred held-out digits."""
    side = small.img_size
    model = small.variant(weights=None, input_shape=(side, side, 3), classes=len(data.classes))
    spec = Spec((side, side), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    Run.write_description(folder, name="digits", model_name=model.name, labels=data.classes, spec=spec)
    model.save(folder / "model.keras")
    paths = [folder / f"{i}.png" for i in range(100)]
    for i, path in enumerate(paths):
        path.write_bytes(data.held_out.read(i))
    Run.write_held_out(folder, zip(paths, data.held_out.labels))


@pytest.mark.slow
def test_every_picture_of_the_page_is_drawn(tmp_path):
    data = digits.load()
    for family, folder in (("ViT", "vit"), ("Swin", "swin"), ("ConvNeXt", "convnext")):
        write_run(tmp_path / f"{folder}_digits-0", FAMILIES[family], data)
    drawn = make.figures(tmp_path)
    page = (ROOT / "docs" / "looking_inside.md").read_text()
    assert page.count("](images/") == len(drawn) and all(f"(images/{name}.png)" in page for name in drawn)


def test_every_picture_is_on_a_page():
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    assert set(re.findall(r"!\[.+\]\(images/(.+)\)", pages)) == {path.name for path in make.IMAGES.iterdir()}
