import numpy as np
import pytest

from keras_vit.training.step import loss_scale

INF, NAN = np.inf, np.nan


def applied(scale, *losses_and_norms):
    """Whether each of the updates is applied."""
    return [bool(scale.update(np.float32(loss), np.float32(norm))) for loss, norm in losses_and_norms]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("bad", [(NAN, 1), (INF, 1), (1, NAN), (1, INF)])
def test_a_value_that_is_not_finite_halts_permanently(precision, bad):
    scale = loss_scale.LossScale(precision)
    assert applied(scale, (1, 1), bad, (1, 1)) == [True, False, False]
    assert scale.scale.numpy() == 1


def test_in_half_precision_an_overflow_is_skipped_and_halves_the_scale():
    scale = loss_scale.LossScale("float16")
    assert scale.scale.numpy() == 2**15
    assert applied(scale, (1, INF), (1, NAN), (1, 1)) == [False, False, True]
    assert scale.scale.numpy() == 2**13 and scale.halted.numpy() == 0


def test_the_scale_doubles_after_a_while_without_overflow(monkeypatch):
    monkeypatch.setattr(loss_scale, "GROW_AFTER", 3)
    scale, scales = loss_scale.LossScale("float16"), []
    for norm in (1, 1, 1, 1, INF, 1, 1, 1):
        applied(scale, (1, norm))
        scales.append(int(np.log2(scale.scale.numpy())))
    assert scales == [15, 15, 16, 16, 15, 15, 15, 16]


def test_an_overflow_at_scale_1_and_a_loss_that_is_not_finite_halt_half_precision_too():
    scale = loss_scale.LossScale("float16")
    assert applied(scale, *[(1, INF)] * 15) == [False] * 15
    assert scale.scale.numpy() == 1 and scale.halted.numpy() == 0
    assert applied(scale, (1, INF), (1, 1)) == [False, False] and scale.halted.numpy() == 1
    assert applied(loss_scale.LossScale("float16"), (NAN, 1), (1, 1)) == [False, False]
