import collections
import dataclasses

import numpy as np
import pytest

from examples.studies.convnext import STUDY
from keras_vit.models import convnext
from keras_vit.models.family import Variant
from tests.examples.arms import build, check_learns, count, random_images
from tests.models.cases import params


@pytest.mark.parametrize("arm", params(list(STUDY.arms)[-1:], STUDY.arms))
def test_every_arm_learns(arm):
    check_learns(STUDY, arm)


def kinds(arm):
    """Number of layers of each class."""
    return collections.Counter(type(layer).__name__ for layer in build(STUDY, arm).layers)


def test_a_step_changes_one_thing():
    configs = [dataclasses.asdict(variant.config) for variant in STUDY.arms.values()]
    for before, after in zip(configs, configs[1:]):
        assert sum(before[name] != after[name] for name in before) == 1


def test_the_first_arm_is_a_resnet():
    found = kinds("ResNet")
    assert found["BatchNormalization"] == found["Conv2D"] == 1 + 3 * 5 + 4 and found["MaxPooling2D"] == 1
    assert found["DepthwiseConv2D"] == found["LayerNormalization"] == 0


def test_numbers_of_activations_and_norms_are_the_papers():
    assert kinds("ReLU to GELU")["Activation"] == 3 * 6 and kinds("fewer activations")["Activation"] == 6
    assert (
        kinds("fewer activations")["BatchNormalization"] == 3 * 6 + 3
        and kinds("fewer norms")["BatchNormalization"] == 9
    )
    assert kinds("BatchNorm to LayerNorm")["LayerNormalization"] == 9


def test_the_last_arm_is_a_convnext():
    arm = "separate downsampling (ConvNeXt)"
    config = STUDY.arms[arm].config
    ours = build(STUDY, arm)
    variant = Variant("Own", convnext.CONVNEXT, convnext.Config(config.depths, config.widths))
    theirs = variant(weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None)
    assert count(ours) == count(theirs) - count(theirs, "/scale/")
    for variable in theirs.weights:  # a layer scale of 1 has no effect
        if "/scale/" in variable.path:
            variable.assign(0 * variable + 1)
    values = iter(ours.get_weights())
    for variable in theirs.weights:
        if "/scale/" not in variable.path:
            variable.assign(next(values).reshape(variable.shape))
    np.testing.assert_allclose(ours(random_images(STUDY)), theirs(random_images(STUDY)), atol=1e-5)
