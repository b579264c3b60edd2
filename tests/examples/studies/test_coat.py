import keras
import numpy as np
import pytest

from examples.studies.coat import STUDY
from keras_vit.models import coat
from keras_vit.models.family import Variant
from tests.examples.arms import build, check_learns, count, random_images
from tests.models.cases import params


@pytest.mark.parametrize("arm", params(list(STUDY.arms)[-1:], STUDY.arms))
def test_every_arm_learns(arm):
    check_learns(STUDY, arm)


def test_arms_differ_by_the_parameters_of_their_position_encodings():
    none, cpe, crpe, both = (count(build(STUDY, arm)) for arm in list(STUDY.arms)[:4])
    model = build(STUDY, "serial, CPE and CRPE")
    assert cpe - none == both - crpe == count(model, "cpe") > 0
    assert crpe - none == both - cpe == count(model, "crpe") > 0


def test_serial_and_connected_parallel_arms_are_the_librarys():
    for arm, library in (("serial, CPE and CRPE", coat.COAT_LITE), ("parallel, connected by interpolation", coat.COAT)):
        ours, config = build(STUDY, arm), STUDY.arms[arm].config
        theirs = Variant("Own", library, config)(
            weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None
        )
        theirs.set_weights(ours.get_weights())
        np.testing.assert_array_equal(ours(random_images(STUDY)), theirs(random_images(STUDY)))


def test_scales_affect_each_other_only_if_connected():
    image = random_images(STUDY, 1)
    for arm, connected in (("parallel, not connected", False), ("parallel, connected by interpolation", True)):
        model = build(STUDY, arm)
        finest = keras.Model(model.input, model.get_layer("parallel0").output[0])
        before = np.array(finest(image))
        projection = model.get_layer("stage3_parallel0_qkv").qkv.kernel
        projection.assign(projection + 1)
        assert (np.abs(np.array(finest(image)) - before).max() > 0) == connected
