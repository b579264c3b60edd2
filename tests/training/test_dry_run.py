import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from keras_vit.training import data, devices, model, plan
from keras_vit.training.dry_run import dry_run, first_batch
from tests.training import toy


def test_the_first_batch_is_shown_and_nothing_else_written(tmp_path):
    out = Console(file=io.StringIO(), width=200, soft_wrap=True)
    recipe = toy.recipe(data_dir=str(toy.write_folder(tmp_path / "data")), mixup=0.8)
    path = dry_run(recipe, tmp_path / "run", out)
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["dry_run.png"]
    with Image.open(path) as image:
        assert image.size[0] > 500
    text = out.file.getvalue()
    assert "Toy, 219 parameters" in text and "8 of 8 pictures of the first batch" in text
    assert plan.check_folder(tmp_path / "run", {}) is False  # a run may begin there


@pytest.mark.parametrize("parts", [1, 2])
def test_pictures_and_titles_are_those_of_the_first_step(tmp_path, parts):
    recipe = toy.recipe(data_dir=str(toy.write_folder(tmp_path / "data")), grad_accum_steps=parts)
    recipe = recipe.replace(shift=0.0, hflip=0.0)
    data_set, spec = data.load(recipe), model.spec_of(recipe)
    made = plan.make(recipe, tmp_path, data_set, spec, {}, devices.make_strategy())
    images, titles = first_batch(made)
    assert images.shape == (8, 8, 8, 3) and images.dtype == np.uint8
    for image, title in zip(images, titles):
        distance = {name: np.abs(image.mean((0, 1)) - colour).max() for name, colour in toy.COLOURS.items()}
        assert min(distance, key=distance.get) == title


def test_a_mixed_picture_says_of_what(tmp_path):
    from keras_vit.training.dry_run import _title

    assert _title(("cat", "dog"), 0, 1, np.float32(0.7)) == "0.7 cat, 0.3 dog"
    assert _title(("cat", "dog"), 1, 0, np.float32(1)) == "dog"
