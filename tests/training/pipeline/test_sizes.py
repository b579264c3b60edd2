import re

import numpy as np
import pytest

from keras_vit.training.pipeline import sizes
from tests.training.toy import recipe


def of(steps=10, final=(8, 8), epochs=2, **changes):
    return sizes.sizes_of(recipe(img_size=final, epochs=epochs, **changes), final, steps)


def test_without_a_choice_every_step_has_the_runs_own_size():
    found = of()
    assert found.trained == ((8, 8),) and found.others == () and found.begins == {0: (8, 8)}
    assert {found.at(step) for step in range(20)} == {(8, 8)} and found.share(7) == 7
    np.testing.assert_array_equal(found.steps((8, 8)), np.arange(20))


def test_a_schedule_gives_each_size_its_part_of_the_run():
    found = of(img_size_schedule="4@0, 6x4@.25, 8@0.75")
    assert [found.at(step) for step in range(20)] == 5 * [(4, 4)] + 10 * [(6, 4)] + 5 * [(8, 8)]
    assert found.begins == {0: (4, 4), 5: (6, 4), 15: (8, 8)} and found.others == ((4, 4), (6, 4))
    np.testing.assert_array_equal(found.steps((6, 4)), np.arange(5, 15))


def test_a_size_may_come_back():
    found = of(img_size_schedule="8@0,4@0.2,8@0.5")
    assert found.trained == ((8, 8), (4, 4)) and found.begins == {0: (8, 8), 4: (4, 4), 10: (8, 8)}
    np.testing.assert_array_equal(found.steps((8, 8)), [*range(4), *range(10, 20)])


def test_the_drawn_sizes_depend_on_the_seed_and_the_step_alone():
    order = of(1000, multi_scale="4,6,8").order
    np.testing.assert_array_equal(order, of(1000, multi_scale="4,6,8").order)
    np.testing.assert_array_equal(order[:300], of(50, epochs=6, multi_scale="4,6,8").order)
    assert (order != of(1000, multi_scale="4,6,8", seed=1).order).any()


def test_each_of_the_drawn_sizes_is_drawn_as_often():
    found = of(5000, multi_scale="4,6x8,8")
    assert found.trained == ((4, 4), (6, 8), (8, 8)) and found.begins == {}
    np.testing.assert_allclose(np.bincount(found.order) / 10_000, 1 / 3, atol=0.02)
    assert sorted(np.concatenate([found.steps(size) for size in found.trained])) == list(range(10_000))


def test_memory_and_work_follow_the_pixels():
    found = of(img_size_schedule="4@0,8@0.75")
    assert found.share(100) == 80
    np.testing.assert_array_equal(found.work(2), [16, 40])
    assert of(multi_scale="4,6").share(116) == 64  # the run's own size is evaluated, not trained


def test_the_last_size_of_a_schedule_is_the_runs_own():
    assert sizes.own_size(recipe(img_size=None, img_size_schedule="4@0,8x6@0.5")) == (8, 6)
    assert sizes.own_size(recipe(img_size=(8, 8), img_size_schedule="4@0,8@0.5")) == (8, 8)
    assert sizes.own_size(recipe(img_size=None, multi_scale="4,8")) is None


@pytest.mark.parametrize(
    "schedule, message",
    [
        ("128", "each with the fraction of the run at which it begins, as in 128@0,192@0.5,224@0.8. Received: 128."),
        ("128@0,", "Received: 128@0,."),
        ("0@0", "Received: 0@0."),
        ("128@0,8x0@0.5", "expected sizes"),
        ("128@-1", "expected sizes"),
        ("128@nan", "expected sizes"),
        ("128x@0", "expected sizes"),
        ("128@0.1,8@0.5", "expected a size for the start of the run, the first at 0, as in 128@0. Received"),
        ("128@0,8@0.8,160@0.5", "expected ascending fractions, as in 128@0,160@0.5,8@0.8. Received"),
        ("128@0,160@0.5,8@0.5", "expected one size for each fraction. Received"),
        ("128@0,8@1", "8@1 begins when the run has ended, and would not be trained: expected fractions below 1"),
        ("128@0,192x160@50", "192x160@50 begins when the run has ended"),
        ("4@0,6@0.5", "ends at 6 x 6 pixels, before the run's own size, img_size=8 x 8, .* End the schedule with 8@"),
    ],
)
def test_a_schedule_that_does_not_fit_is_named(schedule, message):
    with pytest.raises(ValueError, match=f"^img_size_schedule.*{message if '.*' in message else re.escape(message)}"):
        recipe(img_size_schedule=schedule)


@pytest.mark.parametrize("scales", ["", "8,", "a", "8@0", "0", "8,6,8"])
def test_scales_that_do_not_fit_are_named(scales):
    with pytest.raises(ValueError, match=rf"^multi_scale: expected .*Received: {scales}\.$"):
        recipe(multi_scale=scales)


def test_a_schedule_and_scales_exclude_each_other():
    with pytest.raises(ValueError, match="Give one of them"):
        recipe(img_size_schedule="4@0,8@0.5", multi_scale="4,8")


def test_a_run_too_short_for_its_schedule_is_named():
    with pytest.raises(ValueError, match="the run has 2 steps, which leaves none for 6x4@0.6. Train for more epochs"):
        of(1, img_size_schedule="4@0,6x4@0.6,8@0.7")
