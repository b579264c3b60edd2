import keras
import numpy as np
import pytest

from examples.studies.tnt import STUDY
from tests.examples.arms import build, check_learns, count, random_images


@pytest.mark.parametrize("arm", STUDY.arms)
def test_every_arm_learns(arm):
    check_learns(STUDY, arm)


def test_without_inner_transformer_its_parameters_are_missing():
    whole, unmixed, outer = (build(STUDY, arm) for arm in STUDY.arms)
    assert count(whole) - count(unmixed) == count(whole, "/inner/") > 0
    assert count(unmixed) - count(outer) == count(unmixed, "/inject/") > 0


def test_pixels_affect_each_other_only_through_the_inner_transformer():
    image = random_images(STUDY, 1)
    for arm, changed in (("TNT", 4), ("pixels added in every block, no inner transformer", 1)):
        model = build(STUDY, arm)
        pixels = keras.Model(model.input, model.get_layer("block3").output[1])
        before = np.array(pixels(image))
        model.get_layer("pixel_positions").table.assign(before_first(model))
        after = np.array(pixels(image))
        assert (np.abs(after - before).max(axis=(0, 2)) > 0).sum() == changed


def before_first(model):
    """The positions of the pixels, with the first one changed."""
    table = keras.ops.convert_to_numpy(model.get_layer("pixel_positions").table).copy()
    table[0, 0] += np.linspace(0, 1, table.shape[-1])
    return table
