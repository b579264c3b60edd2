"""The figures of two families, and the page that names those that one of them lacks."""

import re

import numpy as np
import pytest
from PIL import Image

from keras_vit.analysis.report import write_report
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import Spec
from tests.models.toys import TOYS


def predictor(name, folder):
    variant, shape = TOYS[name]
    variant(weights=None, input_shape=shape, classes=3).save(folder / f"{name}.keras")
    spec = Spec(shape[:2], (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Predictor.open(folder / f"{name}.keras", spec, ("red", "green", "<blue>"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspection")
    images = list(np.random.default_rng(0).integers(0, 256, (2, 50, 70, 3), "uint8"))
    models = tmp_path_factory.mktemp("models")
    predictors = {"a ViT": predictor("vit", models), "a ConvNeXt": predictor("convnext", models)}
    write_report(folder, predictors, ["a.png", "b & c"], images, 2)
    return folder


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_each_model_has_the_figures_that_it_can_have(folder):
    of_images = {f"image{i}{kind}.png" for i in (1, 2) for kind in ("", "_relevance")}
    both = of_images | {"components.png", "filters.png", "receptive_field.png"}
    vit = {f"image{i}_{kind}.png" for i in (1, 2) for kind in ("attention", "rollout")} | {"distances.png"}
    vit |= {"positions.png"}
    expected = {f"model1/{name}" for name in both | vit} | {f"model2/{name}" for name in both} | {"index.html"}
    assert files(folder) == expected


def test_the_page_shows_them_all_and_names_the_rest(folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'src="([^"]+)"', page)) == files(folder) - {"index.html"}
    assert "<title>Inside a ViT and a ConvNeXt</title>" in page
    assert "&lt;blue&gt;" in page or page.count("<li><span>") == 2 * 2 * 2
    assert page.count("<h2>") == 2 + 1 + 1 and "b &amp; c" in page
    assert page.count("None: ") == 2 * 2 + 2 + 2  # maps and rollout of both images, distances, positions; biases twice
    assert "expected a Swin Transformer" in page


def test_images_are_what_the_model_sees(folder):
    with Image.open(folder / "model1" / "image1.png") as image:
        assert image.size == (48, 40)
    with Image.open(folder / "model1" / "image1_relevance.png") as image:
        assert image.width > 400


def test_what_has_no_keras_model_is_refused(tmp_path):
    served = Predictor("SavedModel", "served", ("a", "b"), None, None)
    with pytest.raises(ValueError, match="served is a SavedModel.*Expected a run folder"):
        write_report(tmp_path, {"served": served}, ["a.png"], [np.zeros((4, 4, 3), "uint8")])
    assert not files(tmp_path)
