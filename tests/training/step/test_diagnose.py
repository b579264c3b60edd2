import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training.pipeline.sampler import Worker
from keras_vit.training.step import diagnose, losses
from keras_vit.training.step import model as models
from keras_vit.training.step.state import State
from tests.models.toys import TOYS
from tests.training import toy


def vit(name="vit", **changes):
    variant, shape = TOYS[name]
    recipe = toy.recipe(model=variant.name, variant=variant, img_size=shape[:2], **changes)
    state = State.build(recipe, 3, models.spec_of(recipe), 5)
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    labels = np.array([0, 2])
    return state, recipe, tuple(map(tf.constant, (images, labels, labels, np.ones(2, "float32"))))


def found(state, recipe, batch):
    return diagnose.first_not_finite(losses.Objective(state.model, recipe), batch)


def poison(layer):
    weight = layer.trainable_variables[0]
    value = weight.numpy()
    value.flat[0] = np.nan
    weight.assign(value)


@pytest.mark.parametrize("name", ["vit", "deit_distilled", "coat", "tnt"])
def test_nothing_is_found_in_a_finite_model(name):
    settings = {"teacher": "t", "distillation": "soft"} if name == "deit_distilled" else {}
    state, recipe, batch = vit(name, **settings)
    log_probs = tf.zeros((2, 3)) if settings else None
    assert diagnose.first_not_finite(losses.Objective(state.model, recipe), batch, log_probs) is None


@pytest.mark.parametrize("layer", ["patch_embed", "block1", "head"])
def test_the_first_layer_with_a_value_that_is_not_finite_is_named(layer):
    state, recipe, batch = vit()
    poison(state.model.get_layer(layer))
    assert found(state, recipe, batch) == f"the output of layer {layer!r} is the first that is not finite"


def test_a_batch_of_another_size_is_examined_at_its_size():
    state, recipe, (images, *rest) = vit()
    images = tf.concat([images, images], axis=1)
    poison(state.model.get_layer("block1"))
    objective = losses.Objective(state.model, recipe, [images.shape[1:3]])
    text = diagnose.first_not_finite(objective, (images, *rest))
    assert text == "the output of layer 'block1' is the first that is not finite"


def test_images_that_are_not_finite_are_named_before_any_layer():
    state, recipe, (images, *rest) = vit()
    assert found(state, recipe, (images * np.nan, *rest)) == "the images of the batch are not finite"


@keras.saving.register_keras_serializable("tests")
class RootOfZero(keras.layers.Layer):
    """Finite forward, and infinite backward."""

    def call(self, x):
        return x + keras.ops.sqrt(keras.ops.sum(x, -1, keepdims=True) * 0)


def test_a_gradient_that_is_not_finite_is_traced_backwards():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Dense(4, name="first")(keras.layers.Flatten(name="flat")(image))
    x = keras.layers.Dense(4, name="second")(RootOfZero(name="root")(x))
    model = keras.Model(image, keras.layers.Dense(3, name="head")(x))
    labels = np.array([0, 2])
    batch = tuple(map(tf.constant, (np.ones((2, 8, 8, 3), "float32"), labels, labels, np.ones(2, "float32"))))
    text = diagnose.first_not_finite(losses.Objective(model, toy.recipe()), batch)
    assert text == "on the way back, the gradient at layer 'first' is the first that is not finite"


def test_every_micro_batch_and_replica_of_the_step_is_examined():
    state, recipe, batch = vit(grad_accum_steps=2, drop_path=0.5)
    images, *rest = batch
    batches = [batch, batch, batch, (images * np.inf, *rest)]
    text = diagnose.explain(state, recipe, batches, 7, Worker(0, 1, 2))
    assert text == "the images of the batch are not finite"
    assert "everything on this worker is finite" in diagnose.explain(state, recipe, batches[:3], 7, Worker(0, 1, 2))
