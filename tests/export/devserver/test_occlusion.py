"""The occlusion maps of a model that reads one square only are known exactly."""

import numpy as np
import pytest

from keras_vit.export.devserver.occlusion import occlusion, square


def looks_at(top, left, side):
    """The probability of class 1 is how bright one square is; that of class 0 is the rest."""

    def predict(images):
        bright = images[:, top : top + side, left : left + side].mean((1, 2, 3)) / 255
        return np.stack([1 - bright, bright], 1)

    return predict


@pytest.fixture
def image():
    """Black, with a white square at (8, 12) of side 4; its mean is 255 * 16 / (16 * 24)."""
    image = np.zeros((16, 24, 3), np.float32)
    image[8:12, 12:16] = 255
    return image


def test_the_score_falls_only_where_the_model_looks(image):
    scores, drops = occlusion(looks_at(8, 12, 4), image, [1], patch=4, stride=4)
    expected = np.zeros((1, 4, 6))
    expected[0, 2, 3] = 1 - 16 / (16 * 24)
    assert scores == [1]
    np.testing.assert_allclose(drops, expected, atol=1e-6)


def test_a_drop_is_the_hidden_share_and_the_other_class_rises_by_it(image):
    """Squares of 8 over cells of 4 start two pixels before their cell."""
    scores, drops = occlusion(looks_at(8, 12, 4), image, [0, 1], patch=8, stride=4)
    share = np.zeros((4, 6))
    share[1:4, 2:5] = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5])
    np.testing.assert_allclose(scores, [0, 1])
    np.testing.assert_allclose(drops[1], share * (1 - 16 / (16 * 24)), atol=1e-6)
    np.testing.assert_allclose(drops[0], -drops[1], atol=1e-6)


@pytest.mark.parametrize("patch, stride", [(5, 5), (1, 7), (10, 5), (40, 24)])
def test_every_cell_is_hidden_once(patch, stride):
    """Also cells at the borders, where the square extends beyond the image."""
    seen = []

    def predict(images):
        seen.extend(images)
        return np.full((len(images), 2), 0.5)

    image = np.random.default_rng(0).uniform(0, 255, (16, 24, 3))
    drops = occlusion(predict, image, [0], patch, stride)[1]
    rows, columns = -(-16 // stride), -(-24 // stride)
    assert drops.shape == (1, rows, columns) and not drops.any()
    np.testing.assert_array_equal(seen[0], image.astype("float32"))
    for place, copy in enumerate(seen[1:]):
        y, x = (np.array(divmod(place, columns)) + 0.5) * stride
        centres = np.abs(np.arange(16) + 0.5 - y) < patch / 2, np.abs(np.arange(24) + 0.5 - x) < patch / 2
        hidden = np.outer(*centres)
        if (patch - stride) % 2 == 0:
            np.testing.assert_allclose(copy[hidden], np.tile(image.mean((0, 1)), (hidden.sum(), 1)), rtol=1e-6)
            np.testing.assert_array_equal(copy[~hidden], image.astype("float32")[~hidden])


def test_batches_are_bounded_and_change_nothing(image):
    sizes = []

    def predict(images):
        sizes.append(len(images))
        return looks_at(8, 12, 4)(images)

    together = occlusion(predict, image, [1], 8, 4)[1]
    np.testing.assert_array_equal(occlusion(predict, image, [1], 8, 4, batch=7)[1], together)
    assert sizes == [1, 24, 1, 7, 7, 7, 3]


@pytest.mark.parametrize("size", [(224, 224), (32, 32), (16, 24), (5, 100), (3, 3)])
def test_the_square_bounds_the_number_of_copies(size):
    patch, stride = square(size)
    assert patch == 2 * stride and -(-size[0] // stride) * -(-size[1] // stride) <= 64


def test_unknown_classes_and_empty_squares(image):
    predict = looks_at(0, 0, 4)
    for classes in ([2], [-1], []):
        with pytest.raises(ValueError, match="numbers from 0 to 1"):
            occlusion(predict, image, classes, 4, 4)
    for patch, stride in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            occlusion(predict, image, [0], patch, stride)
