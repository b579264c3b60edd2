import ast
import dataclasses
import inspect

import pytest

from keras_vit.training import settings


def test_the_groups_divide_the_settings():
    fields = [field.name for group in settings.GROUPS.values() for field in dataclasses.fields(group)]
    assert fields == [field.name for field in dataclasses.fields(settings.Settings)]
    assert list(settings.GROUPS) == [
        "model",
        "data",
        "optimizer",
        "loss",
        "distillation",
        "augmentation",
        "run",
        "cluster",
    ]


@pytest.mark.parametrize("group", settings.GROUPS.values(), ids=settings.GROUPS)
def test_every_setting_has_a_text_below_it(group):
    body = ast.parse(inspect.getsource(group)).body[0].body
    for field, text in zip(body, body[1:]):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(text, ast.Expr) and isinstance(text.value.value, str), ast.unparse(field)


def test_a_group_is_checked_on_its_own():
    assert settings.OptimizerSettings(lr=0.5).lr == 0.5
    with pytest.raises(ValueError, match="lr must be above 0"):
        settings.OptimizerSettings(lr=0.0)


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
        ({"worker_silence": 0.0}, "worker_silence must be above 0"),
        ({"worker_port": 65536}, "worker_port must lie between 0 and 65535. Received: 65536"),
        ({"cluster": "slurm"}, "cluster must be one of auto, none. Received: 'slurm'"),
        ({"loss": "hinge"}, "loss must be one of auto, cross_entropy, bce, focal, asymmetric"),
        ({"asymmetric_gammas": (-1.0, 4.0)}, "asymmetric_gammas must not be negative"),
        ({"effective_beta": 1.0}, "effective_beta must lie between 0 and 1"),
        ({"known_fraction": 1.0}, "known_fraction must lie between 0 and 1"),
        ({"early_stopping": -1}, "early_stopping must not be negative"),
        ({"average_hist": -1}, "average_hist must not be negative"),
        ({"log": "csv,wandbb"}, "log names loggers, joined by commas: csv, .* Received: 'csv,wandbb'. Closest: wandb"),
        ({"log": ""}, "log names loggers, joined by commas"),
        ({"lora_rank": 0, "weights": "a"}, "lora_rank must be above 0, or None"),
        ({"lora_rank": 4}, "lora_rank adds to weights that are frozen.*Give weights"),
        ({"lora_rank": 4, "weights": "a", "linear_probe": True}, "linear_probe trains the head alone, lora_rank more"),
        ({"lora_alpha": 4.0}, "lora_alpha belongs to lora_rank. Give both"),
        ({"grad_accum_steps": 0}, "grad_accum_steps must be above 0"),
        ({"grad_accum_steps": "all"}, "grad_accum_steps must be a number or 'auto'"),
        ({"batch_size": "auto"}, "batch_size='auto' keeps the batch size of a recipe: recipe.replace"),
        ({"memory_gigabytes": 0.0}, "memory_gigabytes must be above 0, or None"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings.Settings(model="SwinT", **changes)


def test_the_best_epoch_is_selected_by_accuracy_or_by_loss():
    lucky, later = {"eval_top1": 99.0, "eval_loss": 0.3}, {"eval_top1": 98.5, "eval_loss": 0.1}
    equal = {"eval_top1": 99.0, "eval_loss": 0.2}
    by_accuracy, by_loss = (settings.RunSettings(eval_metric=m).rank for m in ("top1", "loss"))
    assert max((lucky, later, equal), key=by_accuracy) is equal
    assert max((lucky, later, equal), key=by_loss) is later


def test_a_run_ends_early_once_as_many_epochs_as_said_were_not_better():
    rows = [{"epoch": i, "eval_top1": top1, "eval_loss": 1.0} for i, top1 in enumerate([50.0, 60.0, 60.0, 55.0])]
    ends = [settings.RunSettings(early_stopping=2).ends_early(rows[:done]) for done in range(5)]
    assert ends == [False, False, False, False, True]
    assert not settings.RunSettings(early_stopping=3).ends_early(rows) and not settings.RunSettings().ends_early(rows)


def test_loggers_are_named_in_one_setting():
    assert settings.RunSettings().loggers == ("csv", "tensorboard")
    assert settings.RunSettings(log="wandb, csv,wandb").loggers == ("wandb", "csv")


def test_of_several_labels_mean_average_precision_takes_the_place_of_accuracy():
    chosen = settings.RunSettings()
    assert chosen.rank({"eval_map": 70.0, "eval_loss": 0.2}) == (70.0, -0.2)
    assert settings.RunSettings(eval_metric="macro_f1").rank({"eval_macro_f1": 50.0, "eval_loss": 1.0}) == (50.0, -1.0)
