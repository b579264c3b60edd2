import numpy as np
import tensorflow as tf

from keras_vit.training.augmentation import random_erasing


def boxes(height, width, number=2000):
    draws = tf.random.stateless_uniform((number, random_erasing.DRAWS), (0, 0), alg="philox")
    return random_erasing.choose_boxes(draws, height, width).numpy()


def test_boxes_are_distributed_as_defined():
    """Area uniform in 2 to 33 %; height over width 0.3 to 3.3, its logarithm uniform; drawn again until it fits."""
    top, left, height, width = boxes(224, 224).T
    area, aspect = height * width / 224**2, np.log(height / width) / np.log(1 / 0.3)
    assert 0.018 < area.min() < 0.03 and 0.32 < area.max() < 0.34
    assert np.abs(aspect).max() < 1.05 and abs(aspect.mean()) < 0.04
    small = area < 0.3 * 0.9  # these fit whatever their aspect
    quantiles = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(np.quantile(aspect[small], quantiles), 2 * quantiles - 1, atol=0.08)
    assert min(top.min(), left.min()) == 0
    assert (top + height).max() == 224 and (left + width).max() == 224


def test_an_image_in_which_no_box_fits_gets_an_empty_one():
    assert (boxes(2000, 1, 20) == 0).all()  # every box is at least as wide as the image


def test_exactly_the_boxes_of_the_chosen_images_are_replaced_by_noise():
    images = np.random.default_rng(0).uniform(5, 6, (3, 40, 30, 3)).astype("float32")
    where = np.array([[4, 3, 20, 25], [0, 0, 10, 10], [30, 20, 10, 10]], "int32")
    seeds = np.array([[1, 7], [1, 8], [1, 9]])
    erased = random_erasing.erase(tf.constant(images), tf.constant([True, False, True]), where, seeds).numpy()
    for image, before, (top, left, height, width), chosen in zip(erased, images, where, (True, False, True)):
        inside = np.zeros((40, 30), bool)
        inside[top : top + height, left : left + width] = chosen
        np.testing.assert_array_equal(image != before, np.repeat(inside[..., None], 3, axis=-1))
    noise = erased[0, 4:24, 3:28]
    assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1
    assert (erased[2, 30:, 20:] != noise[:10, :10]).all()


def test_a_batch_without_a_chosen_image_is_unchanged():
    images = tf.ones((2, 5, 5, 3))
    erased = random_erasing.erase(
        images, tf.constant([False, False]), tf.zeros((2, 4), tf.int32), tf.zeros((2, 2), tf.int64)
    )
    assert (erased.numpy() == 1).all()
