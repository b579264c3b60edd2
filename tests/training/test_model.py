import numpy as np
import pytest

from keras_vit.training import model, recipe
from tests.training import toy


def test_the_recipes_own_variant_as_long_as_the_name_is_its():
    assert model.find(toy.recipe(weights="a.npz")) == (toy.TOY, "a.npz")
    assert model.find(toy.recipe(model="SwinT"))[0].name == "SwinT"
    with pytest.raises(ValueError, match="SwinT"):
        model.find(toy.recipe(model="SwinTt"))


def test_a_tag_in_the_name_wins_over_the_default_weights():
    named = recipe.load("finetune").replace(model="SwinT.ms_in22k")
    assert model.find(named)[1] == "ms_in22k"
    assert model.find(named.replace(weights=None))[1] is None
    assert model.find(named.replace(model="SwinT"))[1] == "imagenet"


def test_preprocessing_from_scratch_and_from_weights():
    assert model.spec_of(toy.recipe()).size == (8, 8)
    scratch = model.spec_of(toy.recipe(model="SwinT", img_size=None))
    assert scratch.size == (224, 224) and scratch.mean == (0.5,) * 3
    tuned = model.spec_of(recipe.load("finetune"))
    assert tuned.size == (224, 224) and tuned.mean == (0.485, 0.456, 0.406)
    larger = model.spec_of(recipe.load("finetune").replace(img_size=(256, 192)))
    assert larger.size == (256, 192) and larger.crop_pct == tuned.crop_pct


def test_the_saved_model_is_the_trained_one_with_probabilities():
    spec = model.spec_of(toy.recipe())
    trained = model.build_for_training(toy.recipe(), 3, spec)
    saved = model.build_for_saving(toy.recipe(), 3, spec)
    saved.set_weights(trained.get_weights())
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    logits = np.exp(trained(images, training=False).numpy())
    expected = logits / logits.sum(1, keepdims=True)
    np.testing.assert_allclose(saved(images, training=False), expected, rtol=1e-4)


def test_mixed_precision_is_for_training_only():
    changed = toy.recipe(precision="bfloat16")
    spec = model.spec_of(changed)
    policies = [
        {layer.dtype_policy.name for layer in build(changed, 3, spec).layers}
        for build in (model.build_for_training, model.build_for_saving)
    ]
    assert "mixed_bfloat16" in policies[0] and policies[1] == {"float32"}
