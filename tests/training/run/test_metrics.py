import json

import numpy as np
import pytest

from keras_vit.training.run.metrics import EpochMetrics, NotFinite
from keras_vit.training.step.step import METRICS


def metrics(**values):
    return np.array([({"applied": 1} | values).get(name, 0) for name in METRICS], "float32")


def test_the_row_has_means_over_the_steps():
    epoch = EpochMetrics(10)
    for loss, correct, norm in ((2.0, 3, 1.0), (1.0, 5, 2.0)):
        epoch.add(metrics(loss=loss, correct=correct, norm=norm))
    epoch.flush()
    epoch.totals["seconds"] = 4.0
    assert epoch.row(8) == {
        **{"train_loss": 1.5, "train_top1": 50.0, "gradient_norm": 1.5, "seconds": 4.0, "images_per_second": 4.0},
    }


def test_the_norm_of_a_skipped_update_is_left_out():
    epoch = EpochMetrics(0)
    epoch.add(metrics(loss=1.0, norm=np.inf, applied=0))
    epoch.add(metrics(loss=1.0, norm=3.0))
    epoch.flush()
    assert epoch.row(1)["gradient_norm"] == 3 and epoch.row(1)["train_loss"] == 1


def test_the_first_step_that_halts_is_named_counting_from_one():
    epoch = EpochMetrics(10)
    epoch.add(metrics(loss=1.0))
    for _ in range(2):
        epoch.add(metrics(loss=np.nan, norm=np.inf, applied=0, halted=1))
    with pytest.raises(NotFinite, match="Step 12: loss nan, gradient norm inf") as error:
        epoch.flush()
    assert error.value.step == 11


def test_totals_after_a_checkpoint_are_equal_to_the_bit():
    losses = np.random.default_rng(0).normal(size=20)
    whole, begun = EpochMetrics(0), EpochMetrics(0)
    for loss in losses:
        whole.add(metrics(loss=loss))
    for loss in losses[:7]:
        begun.add(metrics(loss=loss))
    begun.flush()
    resumed = EpochMetrics(7, json.loads(json.dumps(begun.totals)))
    for loss in losses[7:]:
        resumed.add(metrics(loss=loss))
    whole.flush()
    resumed.flush()
    assert resumed.totals == whole.totals and resumed.next_step == 20


def test_a_request_to_stop_is_kept_until_the_end_of_the_epoch():
    epoch = EpochMetrics(0)
    epoch.add(metrics(stop=1))
    epoch.add(metrics())
    assert not epoch.stop_requested
    epoch.flush()
    assert epoch.stop_requested
