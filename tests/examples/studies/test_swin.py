import keras
import numpy as np
import pytest

from examples.studies.swin import STUDY
from keras_vit.models import swin
from keras_vit.models.family import Variant
from tests.examples.arms import build, check_learns, count, random_images


@pytest.mark.parametrize("arm", STUDY.arms)
def test_every_arm_learns(arm):
    check_learns(STUDY, arm)


def reach(model, name, image):
    """Positions of the layer's map that change with the first patch of an image, bool (H, W)."""
    inner = keras.Model(model.input, model.get_layer(name).output)
    other = image.copy()
    other[:, :4, :4] = 1 - other[:, :4, :4]
    return np.abs(inner(other) - inner(image)).max(axis=(0, -1)) > 0


def test_information_leaves_a_window_only_by_shifting():
    image, windows = random_images(STUDY, 1), np.zeros((8, 8), bool)
    windows[:2, :2] = True
    plain, shifted = build(STUDY, "without shifting"), build(STUDY, "shifted windows, relative position bias")
    np.testing.assert_array_equal(reach(plain, "stage0_block1", image), windows)
    np.testing.assert_array_equal(reach(shifted, "stage0_block0", image), windows)
    windows[:3, :3] = True  # shifted by a patch, a window covers the ones beside and below
    np.testing.assert_array_equal(reach(shifted, "stage0_block1", image), windows)


def test_without_bias_only_the_tables_are_missing():
    whole, unbiased = build(STUDY, "shifted windows, relative position bias"), build(STUDY, "no positions")
    assert count(whole) - count(unbiased) == count(whole, "bias_table") == 2 * 9 * (3 + 6)
    assert count(unbiased, "bias_table") == 0


def test_the_arm_with_both_is_the_librarys_swin():
    variant = STUDY.arms["shifted windows, relative position bias"]
    ours, theirs = build(STUDY, "shifted windows, relative position bias"), Variant("Own", swin.SWIN, variant.config)(
        weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None
    )
    theirs.set_weights(ours.get_weights())
    np.testing.assert_array_equal(ours(random_images(STUDY)), theirs(random_images(STUDY)))


def test_unbiased_equals_the_librarys_with_tables_of_zeros():
    whole, unbiased = build(STUDY, "shifted windows, relative position bias"), build(STUDY, "no positions")
    for variable in whole.weights:
        if "bias_table" in variable.path:
            variable.assign(0 * variable)
    others = [v for v in whole.weights if "bias_table" not in v.path]
    for variable, other in zip(unbiased.weights, others, strict=True):
        variable.assign(other)
    np.testing.assert_allclose(unbiased(random_images(STUDY)), whole(random_images(STUDY)), atol=1e-6)
