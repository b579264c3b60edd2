import dataclasses

import pytest

from keras_vit.preprocessing import Spec
from keras_vit.training import plan
from keras_vit.training.datasets.load import load_dataset
from keras_vit.training.pipeline.sampler import Worker
from keras_vit.training.run.header import header
from keras_vit.training.step import distribute, model
from tests.models.toys import TOYS
from tests.training import toy


def texts(tmp_path, worker=None, **changes):
    return header_of(tmp_path, toy.recipe(data_dir=str(toy.write_folder(tmp_path / "data")), **changes), worker)


def header_of(tmp_path, recipe, worker=None):
    data_set, spec = load_dataset(recipe), model.spec_of(recipe)
    settings = plan.settings_of(recipe, data_set, spec)
    decided = plan.make(recipe, tmp_path / "run", data_set, spec, settings, distribute.make_strategy())
    decided = dataclasses.replace(decided, worker=worker or decided.worker)
    return header(decided, model.build_for_training(recipe, 3, spec))


def test_the_header_of_a_plain_run(tmp_path):
    assert texts(tmp_path) == {
        "model": "Toy, 219 parameters",
        "weights": "from scratch",
        "data": "data, 3 classes, 28 train, 4 validation, 4 test",
        "images": "8 x 8 pixels",
        "devices": "2 x CPU, float32, XLA off",
        "batch": "8 (4 per device)",
        "steps": "2 epochs x 3 = 6",
        "optimizer": "adamw, weight decay 0.05, gradient norm up to 1",
        "learning rate": "up to 0.003 in 1 epochs, cosine to 1e-06",
        "output": str(tmp_path / "run"),
    }


def test_the_header_says_which_folder_is_which_split_and_what_was_not_taken(tmp_path):
    (tmp_path / "data").mkdir()
    toy.write_folder(tmp_path / "data" / "Testing", 1)
    (tmp_path / "data" / "notes").mkdir()
    (tmp_path / "data" / "Training" / "red").mkdir(parents=True)
    (tmp_path / "data" / "Training" / "red" / "x.txt").write_text("x")
    for name in ("blue", "green"):
        toy.write_folder(tmp_path / "data" / "Training", classes=(name,))
    toy.write_folder(tmp_path / "more", classes=("red",))
    (tmp_path / "data" / "Training" / "red" / "more").symlink_to(tmp_path / "more" / "red")
    found = header_of(tmp_path, toy.recipe(data_dir=str(tmp_path / "data")))
    assert list(found)[2:5] == ["data", "splits", "not taken"]
    assert found["data"] == "data, 3 classes, 32 train, 4 validation, 3 test"
    assert found["splits"] == "Training/ is train, Testing/ is test, a tenth of train is validation"
    assert found["not taken"] == "1 file (.txt is no image); notes/ (no image)"


@pytest.mark.parametrize(
    "changes, entry, text",
    [
        ({"grad_accum_steps": 2}, "batch", "8 (4 per device in 2 micro-batches)"),
        ({"linear_probe": True}, "model", "Toy, 219 parameters, 39 of them trained"),
        pytest.param({"layer_decay": 0.7}, "learning rate", ", times 0.7 per level of depth", marks=pytest.mark.slow),
        ({"model_ema_decay": 0.99, "opt": "lamb"}, "optimizer", "lamb, weight decay 0.05, .* decay 0.99"),
        pytest.param(
            {"teacher": "t.keras", "distillation": "hard"},
            "teacher",
            "t.keras, hard distillation",
            marks=pytest.mark.slow,
        ),
        ({"worker": Worker(1, 3, 2)}, "devices", "3 workers x 2 x CPU"),
        (
            {"img_size_schedule": "4@0,6x4@0.25,8@0.5"},
            "images",
            "4 x 4 pixels, 6 x 4 after 0.6667 epochs, 8 x 8 after 1 epochs; compiled once per size",
        ),
        pytest.param(
            {"class_weights": "balanced"},
            "images per class",
            "9 (blue) to 10 (red), 1.11 : 1; weighted in inverse proportion to their images",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"multi_scale": "4,6x8"},
            "images",
            "every batch one of 4 x 4, 6 x 8 pixels, validated at 8 x 8; compiled once per size",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_options_that_are_used_are_in_the_header(tmp_path, changes, entry, text):
    import re

    assert re.search(text if ".*" in text else re.escape(text), texts(tmp_path, **changes)[entry])


def test_of_lora_the_header_says_what_is_added_and_what_the_optimizer_keeps(tmp_path):
    variant, shape = TOYS["vit"]  # two blocks of width 24: matrices of 24 x 72, 24 x 24, 24 x 96 and 96 x 24 in each
    variant(weights=None, input_shape=shape, classes=5).save(tmp_path / "base.keras")
    Spec(shape[:2], (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).save(tmp_path / "preprocessing.json")
    of = {"model": variant.name, "variant": variant, "img_size": shape[:2], "weights": str(tmp_path / "base.keras")}
    found = texts(tmp_path, **of, lora_rank=2, grad_checkpointing=True)
    assert found["model"].endswith(" parameters, 1,611 of them trained")  # 75 of them are the head's
    assert found["lora"].startswith(
        "rank 2, alpha 2: 1,536 parameters beside the 13,824 of 8 matrices; the optimizer keeps 0.0 MiB, of all weights"
    )
    assert found["devices"].endswith("XLA off, blocks computed again for gradients")
