import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from keras_vit.training import plan, trainer
from keras_vit.training.datasets.load import load_dataset
from keras_vit.training.dry_run import dry_run, first_batch, title
from keras_vit.training.step import distribute, model
from tests.models.toys import TOYS
from tests.training import toy


def test_a_dry_run_prints_the_plan_and_writes_only_the_first_batch(tmp_path):
    out = Console(file=io.StringIO(), width=200, soft_wrap=True)
    recipe = toy.recipe(data_dir=str(toy.write_folder(tmp_path / "data")), mixup=0.8)
    path = dry_run(recipe, tmp_path / "run", out)
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["dry_run.png"]
    with Image.open(path) as image:
        assert image.size[0] > 500
    text = out.file.getvalue()
    assert "Toy, 219 parameters" in text and "8 of 8 images of the first batch" in text
    assert plan.check_folder(tmp_path / "run", {}) is False  # a run may begin there


@pytest.mark.slow  # step/test_model has the error
def test_a_size_that_the_model_does_not_take_ends_a_dry_run(tmp_path):
    variant, shape = TOYS["vit"]
    own = {"model": variant.name, "variant": variant, "img_size": shape[:2], "multi_scale": "48,44x48"}
    with pytest.raises(ValueError, match="are multiples of 8, .* Received: 44 x 48; the next .* is 48 x 48"):
        dry_run(toy.recipe(data_dir=str(toy.write_folder(tmp_path / "data")), **own), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_images_and_titles_are_those_of_the_first_step(tmp_path, micro_batches):
    recipe = toy.recipe(data_dir=str(toy.write_folder(tmp_path / "data")), grad_accum_steps=micro_batches)
    recipe = recipe.replace(shift=0.0, hflip=0.0)
    data_set, spec = load_dataset(recipe), model.spec_of(recipe)
    images, titles = first_batch(plan.make(recipe, tmp_path, data_set, spec, {}, distribute.make_strategy()))
    assert images.shape == (8, 8, 8, 3) and images.dtype == np.uint8
    for image, class_name in zip(images, titles):
        distance = {name: np.abs(image.mean((0, 1)) - colour).max() for name, colour in toy.COLOURS.items()}
        assert min(distance, key=distance.get) == class_name


def test_the_title_of_a_mixed_image_names_both_classes_and_their_weights():
    assert title(("cat", "dog"), 0, 1, np.float32(0.7)) == "0.7 cat, 0.3 dog"
    assert title(("cat", "dog"), 1, 0, np.float32(1)) == "dog"


def test_the_title_of_an_image_with_several_labels_names_all_or_none():
    names, both, none, last = ("cat", "dog", "cow"), np.array([1, 1, 0]), np.zeros(3, int), np.array([0, 0, 1])
    assert title(names, both, both, np.float32(1)) == "cat, dog" and title(names, none, none, np.float32(1)) == "none"
    assert title(names, both, np.array([0, 1, 1]), np.float32(0.7)) == "0.7 cat, 1.0 dog, 0.3 cow"
    assert title(names, none, last, np.float32(0.7)) == "0.3 cow"


def lines(function, recipe, folder):
    """What a function prints of a recipe, but for the output folder."""
    out = Console(file=io.StringIO(), width=200, soft_wrap=True)
    function(recipe, folder, out)
    return [line for line in out.file.getvalue().splitlines() if not line.startswith("output ")]


@pytest.mark.slow  # run/test_header has it of a plan
@pytest.mark.parametrize(
    "gpu, settings, words",
    [
        (True, {"xla": True, "grad_accum_steps": 2, "batch_size": 64}, ("28 (14 per device in 2 micro-b", "XLA on")),
        (False, {"xla": True}, ("XLA off",)),
        (True, {"xla": False}, ("XLA off",)),
    ],
)
def test_a_dry_run_prints_the_header_of_the_run_that_follows(tmp_path, monkeypatch, gpu, settings, words):
    monkeypatch.setattr("keras_vit.system.xla.pays_in_training", lambda: gpu)
    monkeypatch.setattr(trainer, "finish", lambda *args: None)
    recipe = toy.recipe(data_dir=str(toy.write_folder(tmp_path / "data")), epochs=1, **settings)
    planned, done = (lines(function, recipe, tmp_path / "run") for function in (dry_run, trainer.train))
    header = planned[:-1]  # the last line names the figure
    assert header == done[: len(header)] and len(header) == 9
    assert all(any(word in line for line in header) for word in words)
