import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training.augmentation.affine import DRAWS, is_enabled, matrices, transform
from tests.training.toy import recipe

STILL = {"shift": 0.0, "hflip": 0.0}


def matrix(draws, **changes):
    draws = tf.constant([draws], tf.float32)
    return matrices(draws, recipe(**STILL | changes), height=9, width=11)[0].numpy()


def test_it_is_enabled_by_any_of_the_four_settings():
    assert not is_enabled(recipe(**STILL)) and not is_enabled(recipe(shift=0.0, hflip=0.5))
    assert all(is_enabled(recipe(**STILL | {name: 0.1})) for name in ("shift", "rotate", "zoom", "shear"))


def test_only_a_shift_moves_the_centre():
    centre = np.array([5, 4, 1.0])  # of 11 columns and 9 rows
    changes = {"rotate": 30, "zoom": 0.3, "shear": 20}
    np.testing.assert_allclose(matrix([0, 0, 0.7, 0.5, -0.9], **changes) @ centre, centre, atol=1e-5)
    moved = matrix([1, -1, 0, 0, 0], shift=0.2) @ centre
    np.testing.assert_allclose(moved, centre + [0.2 * 11, -0.2 * 9, 0], atol=1e-5)


@pytest.mark.parametrize(
    "draws, changes, point, source",
    [
        ([0, 0, 1, 0, 0], {"rotate": 90}, (6, 4), (5, 5)),  # a quarter turn about (5, 4)
        ([0, 0, 0, 1, 0], {"zoom": 0.5}, (8, 4), (7, 4)),  # 1.5 times as large
        ([0, 0, 0, 0, 1], {"shear": 45}, (5, 6), (7, 6)),
    ],
)
def test_each_transformation_maps_points_to_their_source(draws, changes, point, source):
    np.testing.assert_allclose(matrix(draws, **changes) @ [*point, 1], [*source, 1], atol=1e-4)


def test_an_image_is_transformed_by_its_matrix():
    images = np.random.default_rng(0).uniform(0, 255, (2, 9, 11, 3)).astype("float32")
    draws = np.zeros((2, DRAWS), "float32")
    draws[1, 0] = 1.0
    moved = transform(tf.constant(images), tf.constant(draws), recipe(**STILL | {"shift": 3 / 11})).numpy()
    np.testing.assert_allclose(moved[0], images[0], atol=1e-3)
    np.testing.assert_allclose(moved[1, :, :-3], images[1, :, 3:], atol=1e-3)


def test_the_area_outside_is_filled_as_the_recipe_says():
    white, draws = np.full((8, 9, 9, 3), 255, "float32"), tf.random.stateless_uniform((8, DRAWS), (0, 0), -1.0, 1.0)
    black = transform(white, draws, recipe(shift=0.3, fill="black")).numpy()
    reflected = transform(white, draws, recipe(shift=0.3, fill="reflect")).numpy()
    assert black.min() == 0 and reflected.min() > 254
