import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training.step import losses
from tests.models.toys import TOYS
from tests.training import toy

generator = np.random.default_rng(0)
LOGITS, TEACHER = (generator.normal(size=(5, 4)).astype("float32") for _ in range(2))
LABELS, PARTNERS = np.array([0, 3, 1, 1, 2]), np.array([3, 0, 2, 1, 1])
WEIGHTS = np.array([1, 0.7, 0.5, 0.2, 0.9], "float32")


def softmax(x):
    p = np.exp(x - x.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def test_smoothed_cross_entropy_against_its_definition():
    e, log_p = 0.2, np.log(softmax(LOGITS))
    target = (1 - e) * np.eye(4)[LABELS] + e / 4
    np.testing.assert_allclose(losses.cross_entropy(LABELS, LOGITS, e), -(target * log_p).sum(1), rtol=1e-5)


def identity_objective(**changes):
    image = keras.Input((4,))
    recipe = toy.recipe(**changes)
    return losses.Objective(keras.Model(image, keras.layers.Identity()(image)), recipe)


def test_mixed_labels_are_one_soft_label():
    e = 0.1
    objective = identity_objective(smoothing=e)
    got, logits = objective((LOGITS, LABELS, PARTNERS, WEIGHTS))
    target = WEIGHTS[:, None] * np.eye(4)[LABELS] + (1 - WEIGHTS[:, None]) * np.eye(4)[PARTNERS]
    target = (1 - e) * target + e / 4
    np.testing.assert_allclose(got, -(target * np.log(softmax(LOGITS))).sum(1), rtol=1e-5)
    np.testing.assert_allclose(logits, LOGITS)


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_soft_distillation_is_equation_2(tau):
    recipe = toy.recipe(teacher="t", distillation="soft", distillation_tau=tau)
    p, q = softmax(TEACHER / tau), softmax(LOGITS / tau)
    expected = tau**2 * (p * np.log(p / q)).sum(1)
    np.testing.assert_allclose(losses.distillation(recipe, TEACHER, LOGITS), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(losses.distillation(recipe, TEACHER, TEACHER), 0, atol=1e-5)


def test_hard_distillation_is_equation_3():
    recipe = toy.recipe(teacher="t", distillation="hard")
    expected = -np.log(softmax(LOGITS))[np.arange(5), TEACHER.argmax(1)]
    np.testing.assert_allclose(losses.distillation(recipe, TEACHER, LOGITS), expected, rtol=1e-5)


def test_a_model_with_one_head_learns_from_labels_and_teacher_by_the_same_logits():
    settings = {"teacher": "t", "distillation": "hard", "distillation_alpha": 0.3, "smoothing": 0.1}
    got, _ = identity_objective(**settings)((LOGITS, LABELS, LABELS, np.ones(5, "float32")), TEACHER)
    labels, teacher = (losses.cross_entropy(c, LOGITS, e) for c, e in ((LABELS, 0.1), (TEACHER.argmax(1), 0)))
    np.testing.assert_allclose(got, 0.7 * labels + 0.3 * teacher, rtol=1e-5)


def distilled(sizes=(), **changes):
    variant, shape = TOYS["deit_distilled"]
    model = variant(weights=None, input_shape=shape, classes=4, classifier_activation=None)
    images = np.random.default_rng(1).normal(size=(5, *shape)).astype("float32")
    objective = losses.Objective(model, toy.recipe(smoothing=0.0, **changes), sizes)
    return model, objective, (images, LABELS, LABELS, np.ones(5, "float32"))


@pytest.mark.parametrize("alpha, head, silent", [(0.0, "head", "head_dist"), (1.0, "head_dist", "head")])
def test_each_head_of_a_distilled_deit_has_its_own_target(alpha, head, silent):
    model, objective, batch = distilled(teacher="t", distillation="soft", distillation_alpha=alpha)
    kernels = [model.get_layer(name).kernel.value for name in (head, silent)]
    with tf.GradientTape() as tape:
        value, logits = objective(batch, TEACHER)
    moved, still = tape.gradient(value, kernels, unconnected_gradients="zero")
    assert np.abs(moved).max() > 1e-3 and np.abs(still).max() == 0
    np.testing.assert_allclose(logits, model(batch[0], training=True), atol=1e-6)


def test_both_heads_learn_at_another_size_too():
    model, objective, (images, *batch) = distilled(
        sizes=[(40, 64)], teacher="t", distillation="soft", distillation_alpha=0.5
    )
    images = np.random.default_rng(2).normal(size=(5, 40, 64, 3)).astype("float32")
    kernels = [model.get_layer(name).kernel.value for name in ("head", "head_dist", "patch_embed")]
    with tf.GradientTape() as tape:
        value, _ = objective((images, *batch), TEACHER)
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(value, kernels))


def test_a_distilled_deit_without_a_teacher_learns_by_the_mean_of_its_heads():
    model, objective, batch = distilled()
    value, logits = objective(batch)
    np.testing.assert_allclose(value, losses.cross_entropy(LABELS, model(batch[0], training=True)), rtol=1e-5)


def test_a_mixed_image_counts_as_its_larger_part():
    right = np.eye(4, dtype="float32")[np.where(WEIGHTS >= 0.5, LABELS, PARTNERS)]
    batch = (None, LABELS, PARTNERS, WEIGHTS)
    assert losses.count_correct(batch, right) == 5
    assert losses.count_correct(batch, np.roll(right, 1, axis=1)) == 0


SEVERAL, OTHERS = generator.integers(0, 2, (2, 5, 4))


def binary(targets, logits, plus=lambda p: 1.0, minus=lambda p: 1.0, shift=0.0):
    """The definitions, in float64: positive and negative terms with their factors."""
    p = 1 / (1 + np.exp(-logits.astype("float64")))
    q = np.maximum(p - shift, 1e-8) if shift else p
    return -(targets * plus(p) * np.log(p) + (1 - targets) * minus(q) * np.log(1 - q)).mean(1)


def loss_of(name, multi_label=True, weights=None, **changes):
    return losses.label_loss(toy.recipe(loss=name, **changes), weights, multi_label)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_cross_entropy_of_several_labels_against_its_definition(smoothing):
    got = loss_of("auto", smoothing=smoothing)(SEVERAL, LOGITS)
    np.testing.assert_allclose(got, binary(SEVERAL * (1 - smoothing) + smoothing / 2, LOGITS), rtol=1e-5)


def test_binary_cross_entropy_of_one_label_asks_every_class_and_smooths_as_cross_entropy_does():
    got = loss_of("bce", multi_label=False, smoothing=0.1)(LABELS, LOGITS)
    np.testing.assert_allclose(got, binary(np.eye(4)[LABELS] * 0.9 + 0.1 / 4, LOGITS), rtol=1e-5)


def test_focal_loss_against_its_definition():
    got = loss_of("focal", focal_gamma=1.5, smoothing=0.0)(SEVERAL, LOGITS)
    expected = binary(SEVERAL, LOGITS, lambda p: (1 - p) ** 1.5, lambda p: p**1.5)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    single, p = loss_of("focal", multi_label=False, focal_gamma=1.5, smoothing=0.0)(LABELS, LOGITS), softmax(LOGITS)
    own = p[np.arange(5), LABELS]
    np.testing.assert_allclose(single, -((1 - own) ** 1.5) * np.log(own), rtol=1e-5)


def test_asymmetric_loss_against_its_definition():
    settings = {"asymmetric_gammas": (1.0, 4.0), "asymmetric_clip": 0.05, "smoothing": 0.0}
    expected = binary(SEVERAL, LOGITS, lambda p: 1 - p, lambda q: q**4, shift=0.05)
    np.testing.assert_allclose(loss_of("asymmetric", **settings)(SEVERAL, LOGITS), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["bce", "focal", "asymmetric"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_losses_of_certain_answers_have_finite_gradients(name, gamma):
    certain = tf.Variable([[200.0, -200.0, 90.0, 0.0], [-200.0, 200.0, -90.0, 0.0]])
    with tf.GradientTape() as tape:
        changes = {"focal_gamma": gamma, "asymmetric_gammas": (gamma, gamma), "smoothing": 0.0}
        loss = tf.reduce_sum(loss_of(name, **changes)(np.array([[1, 0, 1, 1], [1, 0, 1, 0]]), certain))
    assert np.isfinite(loss) and np.isfinite(tape.gradient(loss, certain)).all()
    with tf.GradientTape() as tape:
        single = loss_of("focal", multi_label=False, focal_gamma=gamma, smoothing=0.0)
        loss = tf.reduce_sum(single(np.array([0, 0]), certain))
    assert np.isfinite(tape.gradient(loss, certain)).all()


def test_class_weights_multiply_the_images_of_a_class_or_the_terms_of_labels_that_are_there():
    weights = np.array([2, 0, 1, 3], "float32")
    weighted = loss_of("cross_entropy", multi_label=False, weights=weights)(LABELS, LOGITS)
    plain = loss_of("cross_entropy", multi_label=False)(LABELS, LOGITS)
    np.testing.assert_allclose(weighted, weights[LABELS] * plain, rtol=1e-6)
    p = 1 / (1 + np.exp(-LOGITS))
    expected = -(SEVERAL * weights * np.log(p) + (1 - SEVERAL) * np.log(1 - p)).mean(1)
    np.testing.assert_allclose(loss_of("bce", weights=weights, smoothing=0.0)(SEVERAL, LOGITS), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "name, multi_label, message",
    [
        ("cross_entropy", True, "Give bce, focal or asymmetric"),
        ("asymmetric", False, "Give cross_entropy, bce or focal"),
    ],
)
def test_a_loss_that_does_not_fit_the_labels_is_refused(name, multi_label, message):
    with pytest.raises(ValueError, match=message):
        loss_of(name, multi_label)


def test_mixed_images_with_several_labels_count_as_those_of_their_larger_part():
    logits = np.where(SEVERAL, 1.0, -1.0).astype("float32")
    logits[3] = np.where(OTHERS[3], 1.0, -1.0)
    logits[4] *= -1
    assert losses.count_correct((None, SEVERAL, OTHERS, tf.constant(WEIGHTS)), logits) == 4
