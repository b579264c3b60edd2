"""Every recipe that comes with the library: what its file says, and that it trains."""

import importlib
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor

import pytest

from keras_vit.models import VARIANTS
from keras_vit.preprocessing import Spec
from keras_vit.training import recipe
from keras_vit.training.augmentation import augment
from keras_vit.training.pipeline import sampler
from keras_vit.training.step import model
from keras_vit.training.trainer import train
from tests.models.toys import TOYS
from tests.training import toy

PAPERS = ("inception", "deit", "deit_distilled", "swin", "convnext", "tnt", "coat", "t2t")
TOY_OF = {"SwinT": "swin", "SwinB384": "swin", "ConvNeXtT": "convnext", "ConvNeXtB": "convnext", "ViTB16": "vit"}
TOY_OF |= {"DeiTS": "deit", "DeiTSDistilled": "deit_distilled", "TNTS": "tnt", "CoaTLiteMini": "coat_lite"}
TOY_OF |= {"T2TViT14": "t2t", "DINOv2S": "dinov2"}
SIDES = {"finetune_lora": 70}  # of small images, where patches of 14 pixels do not divide 64


def described(name):
    """The docstring of a recipe's file."""
    return importlib.import_module(f"keras_vit.training.recipes.{name}").__doc__


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_names_its_command_and_its_expected_accuracy(name):
    text = described(name)
    assert f"keras-vit train --recipe {name} " in text or name == "finetune"
    assert "xpected" in text or "Accuracy" in text or "accuracy" in text


@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_recipe_cites_it_and_says_not_reproduced(name):
    text, chosen = described(name), recipe.load(name)
    assert re.search(r"arXiv:\d{4}\.\d{5}", text) and re.search(r"Table|Sec\.|Appendix", text)
    assert "as published" in text and "not reproduced here" in text
    assert chosen.model in text and chosen.model in VARIANTS


@pytest.mark.parametrize("name", ["deit", "deit_distilled", "swin", "tnt", "coat"])
def test_the_learning_rate_is_5e_4_for_512_images(name):
    chosen = recipe.load(name)
    assert chosen.lr == pytest.approx(5e-4 * chosen.batch_size / 512)


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipes_batches_of_imagenet_can_be_divided_among_eight_devices(name):
    chosen = recipe.load(name)
    assert augment.changes_images(chosen) == bool(chosen.aa)
    micro_batch_size = sampler.micro_batch_size(chosen.batch_size, sampler.Worker(replicas=8))
    sampler.check_batch_size(chosen, 1_281_167, chosen.batch_size, micro_batch_size)


def shortened(name, folder, **changes):
    """The recipe for two steps of twelve images of three classes, on CPUs."""
    chosen = recipe.load(name)
    changes |= {"weights": None, "precision": "float32", "xla": False}
    several = chosen.dataset == "csv"
    write = toy.write_manifest if several else toy.write_folder
    changes |= {"dataset": "csv" if several else "folder", "data_dir": str(write(folder / "data"))}
    changes |= {"epochs": 1, "warmup_epochs": 0, "batch_size": 12}
    if chosen.teacher:
        changes["teacher"] = write_teacher(folder)
    chosen = chosen.replace(lora_rank=None, lora_alpha=None).replace(**changes)
    return with_lora(chosen, recipe.load(name), folder) if recipe.load(name).lora_rank else chosen


@pytest.mark.slow  # a run of the toy is in test_trainer, and every setting in test_settings
@pytest.mark.parametrize("name", sorted(set(recipe.names()) - {"quickstart"}))
def test_a_recipe_trains_a_toy_of_its_family_for_two_steps(name, tmp_path):
    variant, shape = TOYS[TOY_OF[recipe.load(name).model]]
    results = train(
        shortened(name, tmp_path, model=variant.name, variant=variant, img_size=shape[:2]), tmp_path / "run"
    )
    assert results["n_images"] == 4 and 0 <= results["map" if "map" in results else "top1"] <= 100


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(recipe.names()) - {"quickstart"}))
def test_a_recipe_trains_its_model_for_two_steps(name, tmp_path):
    # In a process of its own: TensorFlow keeps a run's graphs, and with them its weights, until the process ends.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = pool.submit(trained, name, tmp_path).result()
    assert results["n_images"] == 4 and 0 <= results["map" if "map" in results else "top1"] <= 100


def trained(name, folder):
    """The results of the recipe's own model on small images."""
    return train(shortened(name, folder, img_size=(SIDES.get(name, 64),) * 2), folder / "run")


def with_lora(chosen, published, folder):
    """The recipe on weights, which LoRA needs."""
    variant = model.find(chosen)[0]
    variant(weights=None, input_shape=(*chosen.img_size, 3), classes=5).save(folder / "base.keras")
    Spec(chosen.img_size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).save(folder / "preprocessing.json")
    lora = {"lora_rank": published.lora_rank, "lora_alpha": published.lora_alpha}
    return chosen.replace(weights=str(folder / "base.keras"), **lora)


def write_teacher(folder):
    """Write a .keras file that is a teacher of three classes; its path."""
    toy.TOY(weights=None, input_shape=(8, 8, 3), classes=3).save(folder / "teacher.keras")
    Spec((8, 8), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).save(folder / "preprocessing.json")
    return str(folder / "teacher.keras")
