import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.training.step import lora, model
from keras_vit.training.step.ema import WeightEMA
from keras_vit.training.step.optimizer import decayed, rate_scales
from keras_vit.training.step.state import without_seeds
from tests.models.toys import TOYS
from tests.training import toy

PROJECTIONS = {"qkv", "kqv", "q", "k", "v", "kv", "proj", "proj1", "proj2", "proj3", "fc1", "fc2"}
OF_ABLATIONS = {"squeeze", "excite", "dense"}  # of T2T's other backbones


def recipe_of(name, **changes):
    variant, shape = TOYS[name]
    given = {"weights": "base.keras", "lora_rank": 2, "lora_alpha": 6.0} | changes
    return toy.recipe(model=variant.name, variant=variant, img_size=shape[:2], **given)


def built(name, **changes):
    variant, shape = TOYS[name]
    recipe = recipe_of(name, **changes)
    keras.utils.set_random_seed(0)
    spec = model.spec_of(recipe.replace(weights=None, lora_rank=None, lora_alpha=None))
    return recipe, model.build_for_training(recipe, 3, spec, with_weights=False), spec


def shaken(network):
    """The same after what may have been an epoch: numbers in A and B, and another head."""
    generator = np.random.default_rng(1)
    for v in network.trainable_variables:
        v.assign(v + 0.1 * generator.normal(size=v.shape))
    return network


def images_for(network):
    return np.random.default_rng(0).normal(size=(2, *network.input_shape[1:])).astype("float32")


NAMES = ["vit", *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(set(TOYS) - {"vit"}))]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_trains_the_additions_and_the_head_and_saves_their_sum(name, tmp_path):
    recipe, network, spec = built(name)
    layers = lora.adapted(network)
    assert {"fc1", "fc2"} <= {layer.name for layer in layers} <= PROJECTIONS | OF_ABLATIONS
    trained = {v.path for v in network.trainable_variables}
    assert {path.split("/")[-1] for path in trained} == {"lora_kernel_a", "lora_kernel_b", "kernel", "bias"}
    heads = {path for path in trained if path.startswith("head")}
    assert len(trained) == 2 * len(layers) + len(heads) and len(heads) in (2, 4)

    variant, shape = TOYS[name]
    base = variant(weights=None, input_shape=shape, classes=3)
    weights = {v.path: v for v in network.variables}
    for v in base.variables:
        if not v.path.endswith("seed_generator_state"):
            v.assign(weights[v.path])
    images = images_for(network)
    np.testing.assert_allclose(keras.ops.softmax(network(images)), base(images), rtol=1e-4, atol=1e-6)

    expected = keras.ops.softmax(shaken(network)(images))  # 2. the sum, and 3. the adapter on the base
    variables = without_seeds(network)
    values = [v.numpy() for v in variables]
    saved = model.build_for_saving(recipe, 3, spec)
    saved.set_weights(lora.merged(network, variables, values))
    np.testing.assert_allclose(saved(images), expected, rtol=1e-3, atol=1e-5)
    description = {"model": variant.name, "weights": "base.keras", "classes": ["a", "b", "c"], "rank": 2, "alpha": 6.0}
    lora.write(tmp_path / "adapter.safetensors", network, variables, values, description)
    keras_vit.load_adapter(base, tmp_path)
    for one, other in zip(base.get_weights(), saved.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_layers_below_freeze_depth_get_no_additions():
    _, network, _ = built("vit", freeze_depth=2)
    assert {layer.path.split("/")[0] for layer in lora.adapted(network)} == {"block1"}
    with pytest.raises(ValueError, match="lora_rank: .* has no dense layer in a block that is not frozen"):
        built("vit", freeze_depth=3)


def test_without_a_rank_a_model_is_what_it_was():
    network = built("vit", lora_rank=None, lora_alpha=None, weights=None)[1]
    assert not lora.adapted(network)
    assert all(v.trainable for v in network.trainable_variables)


def test_the_additions_decay_are_averaged_and_learn_by_the_level_of_their_block():
    network = built("vit")[1]
    added = [v for v in network.trainable_variables if "lora_kernel" in v.path]
    assert len(added) == 16 and all(map(decayed, added))
    assert {id(v) for v in WeightEMA(network, 0.9).weights} == {id(v) for v in network.trainable_variables}
    rates = dict(zip((v.path for v in added), rate_scales(network, added, 0.5)))
    assert (rates["block0/attn/qkv/lora_kernel_a"], rates["block1/mlp/fc2/lora_kernel_b"]) == (0.25, 0.5)
