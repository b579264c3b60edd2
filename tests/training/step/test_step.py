import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.models import deit
from keras_vit.system import keras_private
from keras_vit.training.step import distribute, losses, optimizer, step
from keras_vit.training.step.ema import WeightEMA
from keras_vit.training.step.loss_scale import LossScale
from keras_vit.training.step.state import State
from tests.models.toys import TOYS
from tests.training import toy


def strategy(replicas):
    if replicas == 1:
        return tf.distribute.MirroredStrategy(["CPU:0"])
    assert distribute.make_strategy().num_replicas_in_sync == replicas
    return distribute.make_strategy()


def batch(size=8, seed=0, shape=(8, 8, 3)):
    """A training batch, some of its images mixed with their neighbours."""
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(size, *shape)).astype("float32")
    labels = generator.integers(0, 3, size).astype("int32")
    weights = generator.uniform(0, 1, size).round(1).astype("float32")
    return images, labels, np.roll(labels, 1), weights


def distributed(scheme, *arrays, steps=1, micro_batches=1):
    """Steps of the arrays: per step `micro_batches` batches, each divided among the replicas in order."""
    share = len(arrays[0]) // (steps * micro_batches * scheme.num_replicas_in_sync)
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(share, drop_remainder=True)
    batches = iter(scheme.distribute_datasets_from_function(lambda context: dataset))
    return [tuple(next(batches) for _ in range(micro_batches)) for _ in range(steps)]


def toy_model(recipe):
    shape = {"input_shape": (8, 8, 3), "classes": 3}
    return toy.TOY(weights=None, classifier_activation=None, drop_rate=recipe.drop, **shape)


def build(scheme, recipe, model=toy_model):
    keras.utils.set_random_seed(3)
    with scheme.scope():
        network = model(recipe)
        ema = WeightEMA(network, recipe.model_ema_decay) if recipe.model_ema_decay else None
        return State(network, optimizer.make(recipe, network, 100), LossScale(recipe.precision), ema)


def trained(replicas, steps=3, model=toy_model, batches=batch, see=lambda state: None, **changes):
    """(State, metrics per step) after `steps` steps on random images; `see` gets the state after the first."""
    recipe, scheme = toy.recipe(**changes), strategy(replicas)
    state, metrics = build(scheme, recipe, model), []
    take = step.make_train_step(scheme, state, recipe, compiled=recipe.xla)
    arrays = [np.concatenate(column) for column in zip(*(batches(seed=number) for number in range(steps)))]
    for number, given in enumerate(distributed(scheme, *arrays, steps=steps, micro_batches=recipe.grad_accum_steps)):
        out = take(given, tf.constant(number, tf.int64), tf.constant(0.0)).numpy()
        metrics.append(dict(zip(step.METRICS, map(float, out))))
        if number == 0:
            see(state)
    return state, metrics


@functools.cache
def twenty_steps(replicas, micro_batches):
    """(gradient of the first step, metrics of each, weights at the end), with clipping."""
    gradient, beta = [], toy.recipe().opt_betas[0]

    def see(state):  # the first moment is (1 - beta) of the first gradient
        moments = (keras_private.moments_of(state.optimizer, i) for i in range(len(state.model.trainable_variables)))
        gradient.extend(first.numpy() / (1 - beta) for first, _ in moments)

    changes = {"drop": 0.0, "clip_grad": 0.5, "lr": 1e-2, "grad_accum_steps": micro_batches}
    state, metrics = trained(replicas, 20, see=see, **changes)
    return gradient, metrics, state.model.get_weights()


@pytest.mark.parametrize("replicas, micro_batches", [(2, 1), (1, 2), (2, 2)])
def test_a_divided_batch_trains_as_the_whole(replicas, micro_batches):
    (gradient, metrics, weights), (other, others, same) = twenty_steps(1, 1), twenty_steps(replicas, micro_batches)
    assert metrics[0]["norm"] > 0.5  # clipped
    assert np.sqrt(sum(np.sum(g**2) for g in gradient)) == pytest.approx(0.5, rel=1e-4)
    for a, b in zip(gradient, other):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max())
    for a, b in zip(metrics, others):
        assert a == pytest.approx(b, rel=1e-4)
    for a, b in zip(weights, same):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_xla_trains_as_without_under_two_replicas():
    settings = {"drop": 0.0, "opt": "lamb", "model_ema_decay": 0.9}
    (one, first), (two, second) = (trained(2, xla=xla, **settings) for xla in (True, False))
    for a, b in zip(first, second):
        assert a == pytest.approx(b, rel=1e-3)
    for a, b in zip(one.ema.averages, two.ema.averages):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-5)


@functools.cache
def steps_on_small_images(shape, sizes):
    """(what each of two steps returned, weights, the step) of a model for images of a shape, on images of 6 x 4."""
    scheme, recipe = strategy(2), toy.recipe(lr=1e-2)
    options = {"weights": None, "classes": 3, "classifier_activation": None, "drop_rate": recipe.drop}
    state = build(scheme, recipe, lambda recipe: toy.TOY(input_shape=shape, **options))
    take = step.make_train_step(scheme, state, recipe, sizes=sizes)
    out = []
    for number in range(2):
        (given,) = distributed(scheme, *batch(seed=number, shape=(6, 4, 3)))
        out.append(take(given, tf.constant(number, tf.int64), tf.constant(0.0)).numpy())
    return out, state.model.get_weights(), take


def test_a_step_at_another_size_is_that_of_a_model_of_that_size():
    out, weights, _ = steps_on_small_images((8, 8, 3), ((6, 4),))
    others, same, _ = steps_on_small_images((6, 4, 3), ())
    np.testing.assert_array_equal(out, others)
    for a, b in zip(weights, same):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_graph_is_made_once_for_each_size(monkeypatch):
    made, original = [], losses.Objective.__call__
    monkeypatch.setattr(
        losses.Objective,
        "__call__",
        lambda self, *given: (made.append(given[0][0].shape[1:3]), original(self, *given))[1],
    )
    _, _, take = steps_on_small_images((8, 8, 3), ((6, 4),))
    for number, shape in enumerate(((8, 8, 3), (6, 4, 3), (8, 8, 3))):
        (given,) = distributed(strategy(2), *batch(shape=shape))
        take(given, tf.constant(number, tf.int64), tf.constant(0.0))
    assert {tuple(size): made.count(size) for size in made} == {(8, 8): 2}  # one per replica; (6, 4) was made before


def with_policy(policy):
    """A builder of the toy model in mixed precision."""

    def model(recipe):
        keras.config.set_dtype_policy(policy)
        return toy_model(recipe)

    return model


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_single_batch_is_overfitted(precision):
    recipe, scheme = toy.recipe(smoothing=0.0, drop=0.0, lr=0.05, precision=precision), strategy(2)
    images, labels, _, _ = batch()
    state = build(scheme, recipe, with_policy("float32" if precision == "float32" else f"mixed_{precision}"))
    take = step.make_train_step(scheme, state, recipe)
    (given,) = distributed(scheme, images, labels, labels, np.ones(8, "float32"))
    out = [take(given, tf.constant(n, tf.int64), tf.constant(0.0)).numpy() for n in range(150)]
    assert out[-1][0] < 0.3 * out[0][0] and out[-1][1] == 8 and out[-1][3] == 1
    assert {v.dtype for v in state.model.trainable_variables} == {"float32"}


def dropout_gradient(replicas, images=2, micro_batches=1):
    """Gradient of a zero kernel behind a dropout, for equal images: it shows the masks."""

    def model(recipe):
        image = keras.Input((64,))
        dropped = keras.layers.Dropout(0.5)(image)
        return keras.Model(image, keras.layers.Dense(2, kernel_initializer="zeros", use_bias=False)(dropped))

    def batches(seed):
        labels = np.zeros(images, "int32")
        return np.ones((images, 64), "float32"), labels, labels, np.ones(images, "float32")

    plainly = {"opt": "sgd", "momentum": 0.0, "lr": 1.0, "warmup_epochs": 0, "clip_grad": None, "smoothing": 0.0}
    state, _ = trained(replicas, 1, model, batches, grad_accum_steps=micro_batches, **plainly)
    return state.model.get_weights()[0][:, 0]


@pytest.mark.parametrize("replicas, micro_batches", [(2, 1), (1, 2)])
def test_replicas_and_micro_batches_draw_different_masks(replicas, micro_batches):
    gradient = dropout_gradient(replicas, micro_batches=micro_batches)
    kept = gradient / np.abs(gradient).max()  # of two images: 0, 1 or 2
    assert set(np.round(kept, 3)) == {0.0, 0.5, 1.0}


def test_layer_seeds_are_determined_by_seed_step_and_layer():
    draws = [step.layer_seeds(s, tf.constant(n, tf.int64), 3).numpy() for s, n in ((0, 0), (0, 1), (1, 0))]
    assert len({tuple(row) for draw in draws for row in draw}) == 9
    again = step.layer_seeds(0, tf.constant(1, tf.int64), 3).numpy()
    np.testing.assert_array_equal(again, draws[1])


@pytest.mark.parametrize("replicas, micro_batches", [(2, 1), (1, 2)])
def test_moving_averages_are_the_mean_over_micro_batches(replicas, micro_batches):
    def model(recipe):
        image = keras.Input((8, 8, 3))
        x = keras.layers.BatchNormalization(momentum=0.0, name="norm")(image)
        return keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))

    state, _ = trained(replicas, 1, model, grad_accum_steps=micro_batches)
    expected = batch()[0].mean((0, 1, 2))
    np.testing.assert_allclose(state.model.get_layer("norm").moving_mean.numpy(), expected, atol=1e-6)


def test_a_distilled_model_learns_from_its_teacher():
    variant, shape = TOYS["deit_distilled"]

    def model(recipe):
        return variant(weights=None, input_shape=shape, classes=3, classifier_activation=None)

    settings = {"teacher": "t", "distillation": "hard", "distillation_alpha": 1.0, "lr": 1e-2, "warmup_epochs": 0}
    recipe, scheme = toy.recipe(**settings), strategy(2)
    state = build(scheme, recipe, model)
    take = step.make_train_step(scheme, state, recipe, lambda images: tf.one_hot(tf.fill(tf.shape(images)[:1], 2), 3))
    images, *rest = batch(shape=shape)
    (given,) = distributed(scheme, images, *rest)
    for number in range(20):
        out = take(given, tf.constant(number, tf.int64), tf.constant(0.0)).numpy()
    assert out[0] < 0.2
    _, distilled = deit.two_heads(state.model)(images)
    assert (np.argmax(distilled, 1) == 2).all()


def test_replicas_of_workers_that_are_to_stop_are_counted():
    scheme, recipe = strategy(2), toy.recipe()
    take = step.make_train_step(scheme, build(scheme, recipe), recipe)
    out = take(*distributed(scheme, *batch()), tf.constant(0, tf.int64), tf.constant(1.0))
    assert out.numpy()[step.METRICS.index("stop")] == 2


def poisoned(seed):
    images, *rest = batch(seed=seed)
    return (images * (np.nan if seed == 1 else 1), *rest)


def test_after_a_loss_that_is_not_finite_no_step_changes_anything():
    settings = {"batches": poisoned, "model_ema_decay": 0.9, "opt": "lamb"}
    (one, _), (later, metrics) = trained(2, 1, **settings), trained(2, 4, **settings)
    assert [row["applied"] for row in metrics] == [1, 0, 0, 0] and not np.isfinite(metrics[1]["norm"])
    for (name, a), b in zip(one.named_variables().items(), later.named_variables().values()):
        if not name.endswith("iteration"):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=name)


def test_an_overflow_in_half_precision_is_skipped_and_halves_the_scale():
    recipe, scheme = toy.recipe(precision="float16"), strategy(2)
    state = build(scheme, recipe, with_policy("mixed_float16"))
    state.loss_scale.scale.assign(2.0**24)
    take, before = step.make_train_step(scheme, state, recipe), state.model.get_weights()
    (given,) = distributed(scheme, *batch())
    out = [take(given, tf.constant(n, tf.int64), tf.constant(0.0)).numpy() for n in range(30)]
    applied = [row[step.METRICS.index("applied")] for row in out]
    skipped = applied.index(1)
    assert skipped >= 1 and set(applied[skipped:]) == {1.0} and not np.isfinite(out[0][2])
    assert state.loss_scale.scale.numpy() == 2.0 ** (24 - skipped)
    assert any((a != b).any() for a, b in zip(before, state.model.get_weights()))


def identity_model():
    image = keras.Input((7,))
    return keras.Model(image, keras.layers.Identity()(image))


def evaluated(scheme, *arrays, model=identity_model):
    with scheme.scope():
        state = State(model(), None, LossScale("float32"))
    return step.make_eval_step(scheme, state)(*distributed(scheme, *arrays)[0][0]).numpy()


def test_evaluation_counts_by_weight():
    logits = np.random.default_rng(1).normal(size=(6, 7)).astype("float32")
    labels = logits.argsort(1)[:, [-1, -5, -6, -1, -1, -1]].diagonal().astype("int32")
    sums = evaluated(strategy(2), logits, labels, np.array([1, 1, 1, 1, 0, 0], "float32"))
    (loss, top1, top5, count), per_class = sums[:4], sums[4:].reshape(3, 7)
    assert (top1, top5, count) == (2, 3, 4)
    best = logits.argmax(1)
    expected = [np.bincount(c[:4], minlength=7) for c in (labels[:4][labels[:4] == best[:4]], best, labels)]
    np.testing.assert_array_equal(per_class, expected)
    from keras_vit.training.step.losses import cross_entropy

    assert loss == pytest.approx(cross_entropy(labels, logits).numpy()[:4].sum(), rel=1e-5)


def test_scores_that_are_not_finite_are_not_counted_as_correct():
    sums = evaluated(strategy(1), np.full((2, 7), np.nan, "float32"), np.zeros(2, "int32"), np.ones(2, "float32"))
    assert sums[1] == 0 and sums[2] == 0


def test_of_equal_scores_the_lower_class_ranks_first():
    sums = evaluated(strategy(1), np.zeros((6, 7), "float32"), np.arange(6, dtype="int32"), np.ones(6, "float32"))
    assert tuple(sums[1:4]) == (1, 5, 6)


def test_of_several_labels_the_scores_of_all_replicas_are_gathered_in_order():
    generator, scheme = np.random.default_rng(2), strategy(2)
    logits, labels = generator.normal(size=(6, 7)).astype("float32"), generator.integers(0, 2, (6, 7)).astype("int32")
    weights = np.array([1, 1, 1, 1, 0, 0], "float32")
    with scheme.scope():
        state = State(identity_model(), None, LossScale("float32"))
    run = step.make_eval_step(scheme, state, multi_label=True)
    losses, *gathered = (values.numpy() for values in run(*distributed(scheme, logits, labels, weights)[0][0]))
    for found, given in zip(gathered, (logits, labels, weights)):
        np.testing.assert_array_equal(found, given)
    p = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(losses, -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(1), rtol=1e-5)


def test_the_moving_average_is_evaluated():
    scheme, recipe = strategy(2), toy.recipe(model_ema_decay=0.9)
    state = build(scheme, recipe)
    images, labels, _, _ = batch()
    ((given,),) = distributed(scheme, images, labels, np.ones(8, "float32"))
    before = step.make_eval_step(scheme, state)(*given).numpy()
    for weight in state.model.trainable_variables:
        weight.assign(0 * weight)
    np.testing.assert_allclose(step.make_eval_step(scheme, state)(*given), before, rtol=1e-6)
