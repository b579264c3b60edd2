import ast
import dataclasses
import inspect
import subprocess
import sys

import pytest

from keras_vit.training import recipe


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


def test_settings_are_all_options_and_no_variant():
    settings = recipe.load("quickstart").settings()
    assert set(settings) == {f.name for f in dataclasses.fields(recipe.Settings)}
    assert "variant" not in settings


def test_the_groups_divide_the_settings():
    fields = [field.name for group in recipe.GROUPS.values() for field in dataclasses.fields(group)]
    assert fields == [field.name for field in dataclasses.fields(recipe.Settings)]
    assert list(recipe.GROUPS) == ["model", "data", "optimizer", "distillation", "augmentation", "run"]


@pytest.mark.parametrize("group", recipe.GROUPS.values(), ids=recipe.GROUPS)
def test_every_setting_has_a_text_below_it(group):
    body = ast.parse(inspect.getsource(group)).body[0].body
    for field, text in zip(body, body[1:]):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(text, ast.Expr) and isinstance(text.value.value, str), ast.unparse(field)


def test_a_group_is_checked_on_its_own():
    assert recipe.OptimizerSettings(lr=0.5).lr == 0.5
    with pytest.raises(ValueError, match="lr must be above 0"):
        recipe.OptimizerSettings(lr=0.0)


def test_recipes_are_loaded_without_keras():
    script = (
        "import sys; from keras_vit.training import recipe; all(map(recipe.load, recipe.names()));"
        "print(*{'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"dataset": "digit"}, "dataset must be one of digits, folder"),
        ({"precision": "float64"}, "precision must be one of"),
        ({"fill": "white"}, "fill must be one of"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"lr": -1.0}, "lr must be above 0"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative"),
        ({"clip_grad": 0.0}, "clip_grad must be above 0, or None"),
        ({"warmup_epochs": 31}, "warmup_epochs must not exceed epochs=30"),
        ({"smoothing": 1.0}, r"smoothing must lie in \[0, 1\)"),
        ({"drop_path": -0.1}, r"drop_path must lie in \[0, 1\)"),
        ({"hflip": 1.5}, r"hflip must lie in \[0, 1\]"),
        ({"model_ema_decay": 1.0}, "model_ema_decay must lie between 0 and 1, or be None"),
        ({"scale": (0.5, 0.1)}, "scale must be a range above 0, the smaller value first"),
        ({"scale": (0.5, 1.1)}, "scale is a fraction of the image"),
        ({"teacher": "t"}, "teacher and distillation go together"),
        ({"linear_probe": True, "freeze_depth": 1}, "Give it or freeze_depth, not both"),
        ({"recovery_minutes": -1.0}, "recovery_minutes must not be negative"),
        ({"worker_timeout": 0.0}, "worker_timeout must be above 0"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe.Recipe(model="SwinT", **changes)


def test_the_best_epoch_is_selected_by_accuracy_or_by_loss():
    lucky, later = {"eval_top1": 99.0, "eval_loss": 0.3}, {"eval_top1": 98.5, "eval_loss": 0.1}
    equal = {"eval_top1": 99.0, "eval_loss": 0.2}
    by_accuracy, by_loss = (recipe.load("quickstart").replace(eval_metric=m).rank for m in ("top1", "loss"))
    assert max((lucky, later, equal), key=by_accuracy) is equal
    assert max((lucky, later, equal), key=by_loss) is later
