import json

import numpy as np
import pytest

from keras_vit.training.step import METRICS
from keras_vit.training.sums import EpochSums, NotFinite


def metrics(**values):
    return np.array([({"applied": 1} | values).get(name, 0) for name in METRICS], "float32")


def test_the_row_has_means_over_the_steps():
    sums = EpochSums(10)
    for loss, correct, norm in ((2.0, 3, 1.0), (1.0, 5, 2.0)):
        sums.add(metrics(loss=loss, correct=correct, norm=norm))
    sums.settle()
    sums.totals["seconds"] = 4.0
    assert sums.row(8) == {
        **{"train_loss": 1.5, "train_top1": 50.0, "gradient_norm": 1.5, "seconds": 4.0, "images_per_second": 4.0},
    }


def test_an_update_that_was_left_out_has_no_norm():
    sums = EpochSums(0)
    sums.add(metrics(loss=1.0, norm=np.inf, applied=0))
    sums.add(metrics(loss=1.0, norm=3.0))
    sums.settle()
    assert sums.row(1)["gradient_norm"] == 3 and sums.row(1)["train_loss"] == 1


def test_the_first_step_that_halts_is_named_from_one():
    sums = EpochSums(10)
    sums.add(metrics(loss=1.0))
    for _ in range(2):
        sums.add(metrics(loss=np.nan, norm=np.inf, applied=0, halted=1))
    with pytest.raises(NotFinite, match="Step 12: loss nan, gradient norm inf") as error:
        sums.settle()
    assert error.value.step == 11


def test_sums_go_on_to_the_bit_after_a_checkpoint():
    losses = np.random.default_rng(0).normal(size=20)
    whole, begun = EpochSums(0), EpochSums(0)
    for loss in losses:
        whole.add(metrics(loss=loss))
    for loss in losses[:7]:
        begun.add(metrics(loss=loss))
    begun.settle()
    resumed = EpochSums(7, json.loads(json.dumps(begun.totals)))
    for loss in losses[7:]:
        resumed.add(metrics(loss=loss))
    whole.settle()
    resumed.settle()
    assert resumed.totals == whole.totals and resumed.next_step == 20


def test_a_worker_that_was_asked_to_stop_is_remembered():
    sums = EpochSums(0)
    sums.add(metrics(stop=1))
    sums.add(metrics())
    assert not sums.stop
    sums.settle()
    assert sums.stop
