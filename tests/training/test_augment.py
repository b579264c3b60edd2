import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training.augment import affine, augment
from tests.training.toy import recipe

STILL = {"shift": 0.0, "hflip": 0.0}


def images(batch=4, side=9, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (batch, side, side, 3)).astype("float32")


def matrix(draws, **changes):
    draws = tf.constant([draws], tf.float32)
    return affine(draws, recipe(**STILL | changes), height=9, width=11)[0].numpy()


def test_without_changes_the_very_pictures_come_back():
    given = tf.constant(images())
    assert augment(given, recipe(**STILL), (0, 0)) is given


def test_the_seed_decides_and_pictures_differ():
    same = np.repeat(images(1), 4, axis=0)
    one, again, other = (augment(same, recipe(rotate=20), (1, s)).numpy() for s in (5, 5, 6))
    assert (one == again).all() and (one != other).any()
    assert (one[0] != one[1]).any()


def test_a_flip_mirrors_some_and_leaves_others():
    given = images(32)
    flipped = augment(given, recipe(shift=0.0, hflip=0.5), (0, 3)).numpy()
    mirrored = [np.allclose(f, g[:, ::-1], atol=1e-3) for f, g in zip(flipped, given)]
    left = [np.allclose(f, g, atol=1e-3) for f, g in zip(flipped, given)]
    assert all(a != b for a, b in zip(mirrored, left)) and 4 < sum(mirrored) < 28


def test_the_centre_stays_but_for_a_shift():
    centre = np.array([5, 4, 1.0])  # of 11 columns and 9 rows
    changes = {"rotate": 30, "zoom": 0.3, "shear": 20, "hflip": 0.5}
    np.testing.assert_allclose(matrix([0, 0, 0.7, 0.5, -0.9, -1], **changes) @ centre, centre, atol=1e-5)
    moved = matrix([1, -1, 0, 0, 0, 1], shift=0.2) @ centre
    np.testing.assert_allclose(moved, centre + [0.2 * 11, -0.2 * 9, 0], atol=1e-5)


@pytest.mark.parametrize(
    "draws, changes, point, source",
    [
        ([0, 0, 1, 0, 0, 1], {"rotate": 90}, (6, 4), (5, 5)),  # a quarter turn about (5, 4)
        ([0, 0, 0, 1, 0, 1], {"zoom": 0.5}, (8, 4), (7, 4)),  # 1.5 times as large
        ([0, 0, 0, 0, 1, 1], {"shear": 45}, (5, 6), (7, 6)),
    ],
)
def test_single_changes_take_points_where_they_should(draws, changes, point, source):
    np.testing.assert_allclose(matrix(draws, **changes) @ [*point, 1], [*source, 1], atol=1e-4)


def test_what_lies_outside():
    white = np.full((8, 9, 9, 3), 255, "float32")
    black = augment(white, recipe(shift=0.3, hflip=0.0, fill="black"), (0, 0)).numpy()
    reflected = augment(white, recipe(shift=0.3, hflip=0.0, fill="reflect"), (0, 0)).numpy()
    assert black.min() == 0 and reflected.min() > 254
