import numpy as np
import pytest

from keras_vit.prediction import tta
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import Spec

SPEC = Spec((14, 21), (0.5,) * 3, (0.5,) * 3, crop_pct=0.75)


def means(images):
    """A model whose two probabilities are the mean brightness of an image's left part, and the rest."""
    left = np.stack(images)[:, :, :7].mean((1, 2, 3)) / 255
    return np.stack([left, 1 - left], axis=1).astype("float32")


def predictor(**changes):
    values = {"kind": "keras run", "name": "run", "labels": ("dark", "light"), "spec": SPEC, "run": means}
    return Predictor(**values | changes)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype="uint8")


def by_hand(image, size, crops, mirrored, share):
    """The mean over views, written out."""
    whole = Predictor.prepare(predictor(spec=SPEC.at(size, share)), image)
    views = [whole[top : top + 14, left : left + 21] for top, left in crops]
    views += [view[:, ::-1] for view in views] if mirrored else []
    return np.mean([means([view])[0] for view in views], axis=0)


def test_a_mirror_image_is_averaged(image):
    found = tta.augmented(predictor(), "hflip").predict([image, image])
    np.testing.assert_allclose(found, [by_hand(image, (14, 21), [(0, 0)], True, 0.75)] * 2, rtol=1e-6)
    assert abs(found[0, 0] - predictor().predict([image])[0, 0]) > 1e-4


@pytest.mark.parametrize("views, mirrored", [("fivecrop", False), ("tencrop", True)])
def test_crops_are_cut_from_what_the_resized_image_has_around_the_centre(image, views, mirrored):
    crops = [(0, 0), (0, 7), (4, 0), (4, 7), (2, 3)]
    expected = by_hand(image, (18, 28), crops, mirrored, 1.0)
    np.testing.assert_allclose(tta.augmented(predictor(), views).predict([image])[0], expected, rtol=1e-6)


@pytest.mark.parametrize("crop_pct, size", [(1.0, (16, 24)), (0.9, (16, 24)), (0.875, (16, 24)), (0.7, (20, 30))])
def test_the_larger_square_is_an_eighth_larger_or_all_that_there_is(crop_pct, size):
    assert tta.larger(SPEC.at(crop_pct=crop_pct)) == SPEC.at(size, 1.0)


def test_the_centre_of_five_crops_is_the_images_own_view():
    images = np.arange(2 * 6 * 8 * 3).reshape(2, 6, 8, 3)
    *corners, centre = tta.five_crops(images, (4, 4))
    np.testing.assert_array_equal(centre, images[:, 1:5, 2:6])
    assert len(corners) == 4 and all(crop.shape == (2, 4, 4, 3) for crop in corners)
    np.testing.assert_array_equal(corners[2], images[:, 2:, :4])


def test_the_name_says_it_and_what_belongs_to_one_view_is_left_out():
    found = tta.augmented(predictor(run_known=means), "fivecrop")
    assert found.name == "run, tta fivecrop" and found.run_known is None and found.spec == SPEC


def test_what_has_no_views_is_refused():
    with pytest.raises(ValueError, match="tta must be one of hflip, fivecrop, tencrop. Received: 'vflip'"):
        tta.augmented(predictor(), "vflip")
    with pytest.raises(ValueError, match="run prepares its images itself"):
        tta.augmented(predictor(spec=None), "hflip")
