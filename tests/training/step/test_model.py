import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training import recipe
from keras_vit.training.step import model
from tests.models.toys import TOYS
from tests.training import toy


def test_the_recipes_own_variant_is_used_while_the_model_has_its_name():
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
    growing = model.spec_of(recipe.load("finetune").replace(img_size_schedule="128@0,192x160@0.5"))
    assert growing.size == (192, 160)


def trained(name):
    variant, shape = TOYS[name]
    recipe = toy.recipe(model=variant.name, variant=variant, img_size=shape[:2])
    return model.build_for_training(recipe, 3, model.spec_of(recipe))


@pytest.mark.parametrize("name", ["vit", pytest.param("swin", marks=pytest.mark.slow)])
def test_a_view_has_the_weights_of_the_model_and_is_trained_with_them(name):
    network = trained(name)
    view = model.views(network, [(64, 72)])[64, 72]
    images = np.random.default_rng(0).normal(size=(2, 64, 72, 3)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(view(images, training=True) ** 2)
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    assert all(gradient is not None for gradient in gradients)
    assert {id(v) for v in view.variables} <= {id(v) for v in network.variables}


@pytest.mark.parametrize(
    "name, size, nearest",
    [
        ("vit", (41, 48), "48 x 48"),
        ("vit", (4, 8), "8 x 8"),
        ("swin", (30, 41), "32 x 44"),
        ("coat", (8, 40), "32 x 64"),
    ],
)
def test_for_a_size_that_the_model_does_not_take_the_next_is_named(name, size, nearest):
    message = (
        f"'toy.*' takes images of sides that .*Received: {size[0]} x {size[1]}; the next size that fits is {nearest}"
    )
    with pytest.raises(ValueError, match=message):
        model.views(trained(name), [size])


def test_the_saved_model_is_the_trained_one_with_probabilities():
    spec = model.spec_of(toy.recipe())
    trained = model.build_for_training(toy.recipe(), 3, spec)
    saved = model.build_for_saving(toy.recipe(), 3, spec)
    saved.set_weights(trained.get_weights())
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    logits = np.exp(trained(images, training=False).numpy())
    expected = logits / logits.sum(1, keepdims=True)
    np.testing.assert_allclose(saved(images, training=False), expected, rtol=1e-4)


def test_training_is_compiled_if_the_recipe_allows_it_and_a_gpu_is_there(monkeypatch):
    on, off = toy.recipe(xla=True), toy.recipe(xla=False)
    assert not model.compiles(on) and not model.compiles(off)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    assert model.compiles(on) and not model.compiles(off)


def test_mixed_precision_is_for_training_only():
    changed = toy.recipe(precision="bfloat16")
    spec = model.spec_of(changed)
    policies = [
        {layer.dtype_policy.name for layer in build(changed, 3, spec).layers}
        for build in (model.build_for_training, model.build_for_saving)
    ]
    assert "mixed_bfloat16" in policies[0] and policies[1] == {"float32"}


def toy_vit(**changes):
    variant, shape = TOYS["vit"]
    named = toy.recipe(model=variant.name, variant=variant, img_size=shape[:2], **changes)
    return model.build_for_training(named, 3, model.spec_of(named))


def trained_layers(built):
    return {v.path.split("/")[0] for v in built.trainable_variables}


def test_float16_is_mixed_too():
    spec = model.spec_of(toy.recipe())
    built = model.build_for_training(toy.recipe(precision="float16"), 3, spec)
    assert built.get_layer("patch_embed").dtype_policy.name == "mixed_float16"
    assert built.get_layer("head").dtype_policy.name == "float32"


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, {"patch_embed", "class_token", "positions", "block0", "block1", "norm", "head"}),
        ({"freeze_depth": 1}, {"block0", "block1", "norm", "head"}),
        ({"freeze_depth": 3}, {"norm", "head"}),
        ({"linear_probe": True}, {"head"}),
    ],
)
def test_frozen_layers_are_not_trained(changes, expected):
    assert trained_layers(toy_vit(**changes)) == expected


def test_both_heads_of_a_distilled_model_are_trained_in_a_linear_probe():
    variant, shape = TOYS["deit_distilled"]
    built = variant(weights=None, input_shape=shape, classes=3)
    model.freeze(built, toy.recipe(linear_probe=True))
    assert trained_layers(built) == {"head", "head_dist"}


def test_freezing_everything_is_refused():
    with pytest.raises(ValueError, match="freeze_depth=4. Its highest level is 3"):
        toy_vit(freeze_depth=4)


def test_the_order_of_the_weights_does_not_depend_on_what_is_frozen():
    paths = [[w.path for w in built.weights] for built in (toy_vit(), toy_vit(freeze_depth=2))]
    assert paths[0] == paths[1]
