import dataclasses
import subprocess
import sys

import pytest

from keras_vit.training import recipe
from keras_vit.training.settings import Settings


def test_every_recipe_is_loaded():
    assert set(recipe.names()) >= {"quickstart", "finetune"}
    for name in recipe.names():
        assert isinstance(recipe.load(name), recipe.Recipe)


def test_for_an_unknown_recipe_the_closest_is_suggested():
    with pytest.raises(ValueError, match="quickstar'.*Closest: quickstart"):
        recipe.load("quickstar")
    with pytest.raises(ValueError, match="Known: coat, convnext, .*, tnt"):
        recipe.load("zzz")


def test_for_an_unknown_option_the_closest_is_suggested():
    with pytest.raises(ValueError, match="epoch'.*Closest: epochs"):
        recipe.load("quickstart").replace(epoch=3)


def test_a_copy_with_other_values_leaves_the_original():
    one = recipe.load("quickstart")
    other = one.replace(epochs=7, seed=3)
    assert (other.epochs, other.seed, other.variant) == (7, 3, one.variant)
    assert dataclasses.replace(other, epochs=one.epochs, seed=one.seed) == one


def test_a_batch_size_that_is_auto_keeps_the_recipes_and_leaves_the_micro_batches_to_be_found():
    one = recipe.load("quickstart")
    auto = one.replace(batch_size="auto", grad_accum_steps=1)  # the command gives every option
    assert (auto.batch_size, auto.grad_accum_steps) == (one.batch_size, "auto")
    assert auto.replace(batch_size=32).grad_accum_steps == "auto"
    with pytest.raises(ValueError, match="chooses grad_accum_steps. Give one of them. Received: 4"):
        one.replace(batch_size="auto", grad_accum_steps=4)


def test_settings_are_all_options_and_no_variant():
    settings = recipe.load("quickstart").settings()
    assert set(settings) == {f.name for f in dataclasses.fields(Settings)}
    assert "variant" not in settings


def test_recipes_are_loaded_without_keras():
    script = (
        "import sys; from keras_vit.training import recipe; all(map(recipe.load, recipe.names()));"
        "print(*{'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
