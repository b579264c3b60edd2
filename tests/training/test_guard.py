import numpy as np
import pytest

from keras_vit.training import guard

INF, NAN = np.inf, np.nan


def judge(made, *losses_and_norms):
    return [bool(made.judge(np.float32(loss), np.float32(norm))) for loss, norm in losses_and_norms]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("bad", [(NAN, 1), (INF, 1), (1, NAN), (1, INF)])
def test_what_is_not_finite_halts_for_good(precision, bad):
    made = guard.Guard(precision)
    assert judge(made, (1, 1), bad, (1, 1)) == [True, False, False]
    assert made.scale.numpy() == 1


def test_in_half_precision_an_overflow_is_left_out_and_halves_the_scale():
    made = guard.Guard("float16")
    assert made.scale.numpy() == 2**15
    assert judge(made, (1, INF), (1, NAN), (1, 1)) == [False, False, True]
    assert made.scale.numpy() == 2**13 and made.halted.numpy() == 0


def test_the_scale_doubles_after_a_while_without_overflow(monkeypatch):
    monkeypatch.setattr(guard, "GROW_AFTER", 3)
    made, scales = guard.Guard("float16"), []
    for norm in (1, 1, 1, 1, INF, 1, 1, 1):
        judge(made, (1, norm))
        scales.append(int(np.log2(made.scale.numpy())))
    assert scales == [15, 15, 16, 16, 15, 15, 15, 16]


def test_an_overflow_without_scale_and_a_loss_that_is_not_finite_halt_half_precision_too():
    made = guard.Guard("float16")
    assert judge(made, *[(1, INF)] * 15) == [False] * 15
    assert made.scale.numpy() == 1 and made.halted.numpy() == 0
    assert judge(made, (1, INF), (1, 1)) == [False, False] and made.halted.numpy() == 1
    assert judge(guard.Guard("float16"), (NAN, 1), (1, 1)) == [False, False]
