import keras
import numpy as np
import pytest

from keras_vit.training.step import model as models
from keras_vit.training.step.state import State
from tests.training import toy


def built(**changes):
    keras.utils.set_random_seed(0)
    recipe = toy.recipe(**changes)
    return State.build(recipe, 3, models.spec_of(recipe), steps_per_epoch=5)


def test_checkpoints_have_weights_moments_count_scale_and_average_but_no_seeds():
    names = list(built(model_ema_decay=0.9, precision="float16").named_variables())
    assert {name.split("/")[0] for name in names} == {"model", "optimizer", "guard", "ema"}
    assert any(name.endswith("iteration") for name in names) and "guard/00000/scale" in names
    assert any("momentum" in name for name in names) and any("velocity" in name for name in names)
    assert not any("seed_generator" in name for name in names)
    assert len(names) == len(set(names)) == 6 + (1 + 2 * 6) + 2 + 6


@pytest.mark.parametrize("decay", [None, 0.9])
def test_the_moving_average_is_evaluated_if_there_is_one(decay):
    state = built(model_ema_decay=decay)
    before = state.evaluation_weights()
    for weight in state.model.weights:
        weight.assign(weight + 1)
    for name, value in state.evaluation_weights().items():
        np.testing.assert_array_equal(value, before[name] + (decay is None))
    assert list(before) == state.model_names()
