import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training.step import model, recompute
from keras_vit.training.step.losses import Objective
from keras_vit.training.step.step import layer_seeds, split_state
from tests.models.toys import TOYS
from tests.training import toy


def objective(name, **changes):
    variant, shape = TOYS[name]
    recipe = toy.recipe(model=variant.name, variant=variant, img_size=shape[:2], drop_path=0.5, drop=0.3, **changes)
    keras.utils.set_random_seed(0)
    built = model.build_for_training(recipe, 3, model.spec_of(recipe))
    images = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    labels = np.array([0, 1, 2, 0], "int32")
    return recipe, built, (images, labels, labels, np.ones(4, "float32"))


def gradients(recipe, built, batch, again):
    """A function of the number of a draw: (losses, gradients) of a micro-batch as the training step computes them."""
    of, (seeds, _) = Objective(built, recipe.replace(grad_checkpointing=again)), split_state(built)

    @tf.function(autograph=False)
    def step(batch, values):
        with tf.GradientTape() as tape:
            with keras.StatelessScope(state_mapping=list(zip(seeds, tf.unstack(values, num=len(seeds))))):
                losses, _ = of(batch)
        return losses, tape.gradient(losses, [v.value for v in built.trainable_variables])

    def of_draw(number):
        values = layer_seeds(recipe.seed, tf.constant(number, tf.int64), len(seeds))
        losses, found = step(tuple(map(tf.constant, batch)), values)
        return losses.numpy(), np.concatenate([np.ravel(tf.convert_to_tensor(g)) for g in found])

    return of_draw


def test_only_blocks_are_computed_a_second_time_with_the_same_branches_dropped():
    recipe, built, batch = objective("vit")
    expected, calls = gradients(recipe, built, batch, False)(3), []
    for layer in built.layers:
        call = layer.call
        layer.call = lambda *inputs, name=layer.name, call=call, **options: calls.append(name) or call(
            *inputs, **options
        )
    again = gradients(recipe, built, batch, True)
    assert_equal(again(3), expected)
    assert {name for name in calls if calls.count(name) > 1} == {"block0", "block1"}
    assert [calls.count(name) for name in ("block0", "block1", "patch_embed", "head")] == [2, 2, 1, 1]
    with pytest.raises(AssertionError):  # what is dropped matters
        assert_equal(again(4), expected)


def assert_equal(found, expected):
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    assert np.linalg.norm(found[1] - expected[1]) <= 1e-6 * np.linalg.norm(expected[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(TOYS) - {"vit"}))
def test_gradients_of_every_family_are_the_same(name):
    given = objective(name)
    assert_equal(gradients(*given, True)(3), gradients(*given, False)(3))


@pytest.mark.slow
def test_what_batch_normalisation_averages_is_assigned_once():
    images = keras.Input((8, 8, 3))
    block = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()], name="block0")
    built = keras.Model(images, block(images))
    moving = [v for v in built.variables if "moving" in v.path]
    x = tf.random.stateless_normal((4, 8, 8, 3), (0, 1))
    changed = []
    for forward in (lambda: built(x, training=True), lambda: recompute.forward(built, x)):
        with keras.StatelessScope() as scope:
            forward()
        changed.append([np.array(scope.get_current_value(v)) for v in moving])
    assert np.abs(changed[0][0]).max() > 0
    np.testing.assert_allclose(changed[1], changed[0], rtol=1e-6)


def test_a_model_without_blocks_is_refused():
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="grad_checkpointing: expected a model of keras_vit.models"):
        recompute.forward(plain, np.zeros((1, 4), "float32"))
