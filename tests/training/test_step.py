import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training import optimizer, plan, step
from tests.training import toy


def strategy(replicas):
    if replicas == 1:
        return tf.distribute.MirroredStrategy(["CPU:0"])
    assert plan.make_strategy().num_replicas_in_sync == replicas
    return plan.make_strategy()


def batch(size=8, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(size, 8, 8, 3)).astype("float32")
    return images, generator.integers(0, 3, size).astype("int32")


def distributed(scheme, *arrays):
    dataset = tf.data.Dataset.from_tensors(tuple(arrays))
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return next(iter(scheme.experimental_distribute_dataset(dataset.with_options(options))))


def toy_model(recipe):
    shape = {"input_shape": (8, 8, 3), "classes": 3}
    return toy.TOY(weights=None, classifier_activation=None, drop_rate=recipe.drop, **shape)


def trained(replicas, steps=3, build=toy_model, **changes):
    """(model, scalars per step) after `steps` steps on random pictures."""
    recipe, scheme = toy.recipe(**changes), strategy(replicas)
    keras.utils.set_random_seed(3)
    with scheme.scope():
        model = build(recipe)
        made = optimizer.make(recipe, model.trainable_variables, 100)
    take = step.make_train_step(scheme, model, made, recipe)
    scalars = []
    for number in range(steps):
        images, labels = distributed(scheme, *batch(seed=number))
        out = take(images, labels, tf.constant(number, tf.int64))
        scalars.append({name: float(value) for name, value in out.items()})
    return model, scalars


@pytest.mark.parametrize("clip_grad", [None, 0.01])
def test_two_replicas_train_as_one(clip_norm):
    changes = {"drop": 0.0, "clip_grad": clip_norm}
    (one, first), (two, second) = trained(1, **changes), trained(2, **changes)
    for a, b in zip(first, second):
        assert a == pytest.approx(b, rel=1e-4)
    for a, b in zip(one.get_weights(), two.get_weights()):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_xla_trains_as_without_under_two_replicas():
    (one, first), (two, second) = (trained(2, xla=xla, drop=0.0) for xla in (True, False))
    assert first[0]["loss"] == pytest.approx(second[0]["loss"], rel=1e-4)
    assert first[0]["norm"] == pytest.approx(second[0]["norm"], rel=1e-3)


def test_a_batch_is_over_fitted():
    recipe, scheme = toy.recipe(smoothing=0.0, drop=0.0, lr=0.05), strategy(2)
    with scheme.scope():
        model = toy_model(recipe)
        made = optimizer.make(recipe, model.trainable_variables, 100)
    take = step.make_train_step(scheme, model, made, recipe)
    images, labels = distributed(scheme, *batch())
    out = [take(images, labels, tf.constant(n, tf.int64)) for n in range(150)]
    assert float(out[-1]["loss"]) < 0.3 * float(out[0]["loss"])
    assert float(out[-1]["correct"]) == 8


class Recorder(optimizer.SummedAdamW):
    """Leaves the gradient in the variable, with its sign turned."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign(variable, -gradient)


def dropout_gradient(replicas, pictures=2):
    """Gradient of a zero kernel behind a dropout, for equal pictures: it shows the masks."""
    scheme, recipe = strategy(replicas), toy.recipe(clip_grad=None, smoothing=0.0)
    with scheme.scope():
        image = keras.Input((64,))
        dropped = keras.layers.Dropout(0.5)(image)
        model = keras.Model(image, keras.layers.Dense(2, kernel_initializer="zeros", use_bias=False)(dropped))
        made = Recorder(1.0)
        made.build(model.trainable_variables)
    take = step.make_train_step(scheme, model, made, recipe)
    images = np.ones((pictures, 64), "float32")
    given = distributed(scheme, images, np.zeros(pictures, "int32"))
    take(*given, tf.constant(0, tf.int64))
    return model.get_weights()[0][:, 0]


def test_replicas_draw_different_masks():
    kept = dropout_gradient(2) / np.abs(dropout_gradient(2)).max()  # of two pictures: 0, 1 or 2
    assert set(np.round(kept, 3)) == {0.0, 0.5, 1.0}


def test_draws_belong_to_seed_step_and_layer():
    draws = [step.layer_seeds(s, tf.constant(n, tf.int64), 3).numpy() for s, n in ((0, 0), (0, 1), (1, 0))]
    assert len({tuple(row) for draw in draws for row in draw}) == 9
    again = step.layer_seeds(0, tf.constant(1, tf.int64), 3).numpy()
    np.testing.assert_array_equal(again, draws[1])


def test_moving_averages_are_the_mean_over_replicas():
    def build(recipe):
        image = keras.Input((8, 8, 3))
        x = keras.layers.BatchNormalization(momentum=0.0, name="norm")(image)
        return keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))

    model, _ = trained(2, steps=1, build=build)
    expected = batch()[0].mean((0, 1, 2))
    np.testing.assert_allclose(model.get_layer("norm").moving_mean.numpy(), expected, atol=1e-6)


def test_smoothed_cross_entropy_against_its_definition():
    logits, labels, e = np.random.default_rng(0).normal(size=(5, 4)).astype("float32"), [0, 3, 1, 1, 2], 0.2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    target = (1 - e) * np.eye(4)[labels] + e / 4
    got = step.cross_entropy(tf.constant(labels), logits, e)
    np.testing.assert_allclose(got, -(target * np.log(p)).sum(1), rtol=1e-5)


def identity_model():
    image = keras.Input((7,))
    return keras.Model(image, keras.layers.Identity()(image))


def test_evaluation_counts_by_weight():
    scheme = strategy(2)
    with scheme.scope():
        model = identity_model()
    logits = np.random.default_rng(1).normal(size=(6, 7)).astype("float32")
    labels, weights = np.arange(6, dtype="int32"), np.array([1, 1, 1, 1, 0, 0], "float32")
    measure = step.make_eval_step(scheme, model, xla=True)
    loss, top1, top5, count = measure(*distributed(scheme, logits, labels, weights)).numpy()
    order = np.argsort(-logits, axis=1)[:4]
    assert count == 4
    assert top1 == sum(order[i, 0] == i for i in range(4))
    assert top5 == sum(i in order[i, :5] for i in range(4))
    expected = step.cross_entropy(labels, logits).numpy()[:4].sum()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_what_is_not_finite_is_not_counted_as_correct():
    scheme = strategy(1)
    logits = np.full((2, 7), np.nan, "float32")
    measure = step.make_eval_step(scheme, identity_model(), xla=False)
    sums = measure(*distributed(scheme, logits, np.zeros(2, "int32"), np.ones(2, "float32")))
    assert sums.numpy()[1] == 0 and sums.numpy()[2] == 0
