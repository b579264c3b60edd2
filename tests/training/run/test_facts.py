import copy

import pytest

from tests.hostile.checkpoints import BOUNDS, row, state


@pytest.mark.parametrize("step", [3, 6, 9, 12])
def test_what_a_run_says_after_each_epoch_is_accepted(step):
    BOUNDS.check(state(step))


@pytest.mark.parametrize("done", [1, 2, 3])
def test_within_an_epoch_and_before_its_evaluation_too(done):
    said = state(6) | {"step": 6 + done}
    said["sums"] = {"steps": done, "loss": 2.5 * done, "correct": 4.0, "applied": done - 1, "norm": 1, "seconds": 0.5}
    BOUNDS.check(said)
    with pytest.raises(ValueError, match="its sums are not those of the 3 steps"):
        BOUNDS.check(said | {"step": 9, "sums": said["sums"] | {"steps": 4}})


def test_before_the_first_epoch_there_is_no_best_one():
    BOUNDS.check(state(6) | {"step": 0, "history": [], "best": None})
    with pytest.raises(ValueError, match="best epoch"):
        BOUNDS.check(state(6) | {"step": 0, "history": []})


@pytest.mark.parametrize("step", [4, 5, 6])
def test_a_callback_may_end_a_run_within_its_last_epoch(step):
    BOUNDS.check(state(6) | {"step": step, "ended": True})


@pytest.mark.parametrize("step", [3, 7])
def test_not_before_or_behind_it(step):
    with pytest.raises(ValueError, match=f"its step is {step}; after 2 of 4"):
        BOUNDS.check(state(6) | {"step": step, "ended": True})


def test_more_columns_than_today_are_accepted():
    said = copy.deepcopy(state(3))
    said["history"][0]["new"] = said["best"]["new"] = "?"
    BOUNDS.check(said | {"new": 1})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"step": 1_000_000}, "its step is 1000000; after 2 of 4 epochs of 3 steps it would be 6 to 9"),
        ({"step": -5, "history": [], "best": None}, "its step is -5; after 0 of 4 epochs of 3 steps it would be 0 to"),
        ({"step": 13, "history": [row(i) for i in range(4)]}, "would be 12 to 12"),
        ({"step": 15, "history": [row(i) for i in range(5)]}, "it has 5 epochs of 4"),
        ({"step": 10**4000}, "its step is [0-9]{2,40}\\.\\.\\."),
        ({"history": {}}, "history is dict"),
        ({"history": [row(0), []]}, "epoch 2: expected fields, received list"),
        ({"history": [row(0), row(1) | {"lr": None}]}, "epoch 2: lr is None"),
        ({"history": [row(0), row(1) | {"seconds": -1.0}]}, "epoch 2: seconds is out of its range"),
        ({"best": row(1) | {"lr": 0.5}}, "its best epoch is none of its epochs"),
        ({"bad": {"train": [[1, 24, "x"]], "val": []}}, "an image of train is list; there are 24"),
    ],
)
def test_what_cannot_be_of_the_run_is_said(changes, message):
    with pytest.raises(ValueError, match=message):
        BOUNDS.check(state(6) | changes)
