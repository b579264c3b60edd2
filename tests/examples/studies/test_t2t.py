import keras
import numpy as np
import pytest

from examples.studies.t2t import STUDY
from tests.examples.arms import build, check_learns, count, random_images


@pytest.mark.parametrize("arm", STUDY.arms)
def test_every_arm_learns(arm):
    check_learns(STUDY, arm)


def test_backbones_have_the_same_number_of_parameters_within_a_tenth():
    deep, _, _, wide = (count(build(STUDY, arm), "block") for arm in STUDY.arms)
    assert wide == pytest.approx(deep, rel=0.1)


def test_plain_patches_do_not_overlap_and_those_of_the_module_do():
    image = random_images(STUDY, 1)
    other = image.copy()
    other[:, 15, 15] += 1  # the last pixel of the first patch
    for arm, changed in (("plain patches, deep and narrow", 1), ("T2T module (Transformer), deep and narrow", 16)):
        model = build(STUDY, arm)
        patches = keras.Model(model.input, model.get_layer("patch_embed").output)
        assert (np.abs(patches(other) - patches(image)).max(axis=-1) > 0).sum() == changed
