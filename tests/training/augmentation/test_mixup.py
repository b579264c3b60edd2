import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training.augmentation import mixup
from tests.training.toy import recipe

H, W = 32, 24


def draw(pairs=2000, height=H, width=W, seed=0, **changes):
    boxes, lambdas = mixup.draw(recipe(**changes), pairs, height, width, tf.constant([5, seed], tf.int64))
    return boxes.numpy(), lambdas.numpy()


def own_weights(mixed):
    """The weight of the image itself, if image i is 1 in channel i and 0 in the others: its mean in that channel."""
    return np.array([image[..., i].mean() for i, image in enumerate(mixed)])


@pytest.mark.parametrize("changes", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0, "mixup_prob": 0.7}])
def test_weights_are_those_found_in_the_images(changes):
    images = np.zeros((8, H, W, 8), "float32")
    images[range(8), :, :, range(8)] = 1.0
    labels = np.arange(8, dtype="int32")
    for seed in range(5):
        boxes, lambdas = draw(4, seed=seed, **changes)
        mixed, kept, partners, weights = mixup.mix(tf.constant(images), labels, boxes, lambdas)
        np.testing.assert_allclose(weights, own_weights(mixed.numpy()), atol=1e-6)
        others = [image[..., partner].mean() for image, partner in zip(mixed.numpy(), labels ^ 1)]
        np.testing.assert_allclose(1 - weights.numpy(), others, atol=1e-6)
        np.testing.assert_array_equal(kept, labels)
        np.testing.assert_array_equal(partners, np.where(weights.numpy() < 1, labels ^ 1, labels))


def test_cutmix_exchanges_a_box_between_the_images_of_a_pair():
    images = np.random.default_rng(0).normal(size=(2, H, W, 3)).astype("float32")
    mixed = mixup.mix(tf.constant(images), tf.constant([3, 4]), [[2, 3, 20, 9]], [0.0])[0].numpy()
    expected = images.copy()
    expected[:, 2:20, 3:9] = images[::-1, 2:20, 3:9]
    np.testing.assert_array_equal(mixed, expected)


def test_mixup_is_the_weighted_mean():
    images = np.random.default_rng(0).normal(size=(2, H, W, 3)).astype("float32")
    mixed = mixup.mix(tf.constant(images), tf.constant([3, 4]), [[0, 0, H, W]], [0.3])[0].numpy()
    np.testing.assert_allclose(mixed, 0.3 * images + 0.7 * images[::-1], atol=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 0.8, 1.0, 3.0])
def test_lambda_has_the_moments_of_beta(alpha):
    """Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1))."""
    drawn = mixup.beta(alpha, 4000, tf.constant([0, 1], tf.int64)).numpy()
    assert abs(drawn.mean() - 0.5) < 0.02 and abs(drawn.var() - 0.25 / (2 * alpha + 1)) < 0.01
    assert 0 <= drawn.min() and drawn.max() <= 1


def test_a_tiny_alpha_gives_lambdas_near_0_and_1():
    drawn = mixup.beta(1e-3, 1000, tf.constant([0, 1], tf.int64)).numpy()
    assert np.isfinite(drawn).all() and 0.4 < drawn.mean() < 0.6 and (np.minimum(drawn, 1 - drawn) < 1e-6).mean() > 0.98


def test_cutmix_boxes_have_the_area_1_minus_lambda_unless_clipped():
    lambdas = np.array([0.75, 0.0, 1.0, 0.75], "float32")
    centres = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.0, 0.999]], "float32")
    boxes = mixup.cutmix_boxes(tf.constant(lambdas), tf.constant(centres), 32, 24).numpy().tolist()
    assert boxes == [[8, 6, 24, 18], [0, 0, 32, 24], [16, 12, 16, 12], [0, 17, 8, 24]]


def test_pairs_are_mixed_and_switched_with_the_recipes_probabilities():
    whole = [0, 0, H, W]
    boxes, lambdas = draw(mixup=0.8, cutmix=1.0, mixup_prob=0.6, mixup_switch_prob=0.25)
    cut = (lambdas == 0) & (boxes != whole).any(axis=1)
    assert abs((lambdas == 1).mean() - 0.4) < 0.04 and abs(cut.mean() - 0.6 * 0.25) < 0.03
    assert (draw(mixup=0.8)[0] == whole).all() and (draw(cutmix=1.0)[1] == 0).all()


def test_it_is_enabled_by_mixup_or_cutmix_and_a_probability():
    assert mixup.is_enabled(recipe(mixup=0.1)) and mixup.is_enabled(recipe(cutmix=0.1))
    assert not mixup.is_enabled(recipe()) and not mixup.is_enabled(recipe(mixup=1.0, mixup_prob=0.0))
