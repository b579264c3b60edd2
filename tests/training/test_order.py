import numpy as np
import pytest

from keras_vit.training import order
from tests.training.toy import recipe


def listed(total, batch_size, start=0, mine=slice(None), **changes):
    """(numbers, positions), a row per step."""
    width = len(range(batch_size)[mine])
    dataset = order.training_order(recipe(epochs=3, **changes), total, batch_size, start, mine, width)
    pairs = np.array(list(dataset.as_numpy_iterator()), "int64").reshape(-1, 2, width)
    return pairs[:, 0], pairs[:, 1]


def test_an_epoch_takes_every_picture_once_and_each_epoch_has_an_order_of_its_own():
    numbers, positions = listed(20, 5)
    np.testing.assert_array_equal(positions.ravel(), np.arange(60))
    epochs = numbers.reshape(3, 20)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(20), (3, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_seed_decides():
    assert (listed(20, 5)[0] == listed(20, 5)[0]).all() and (listed(20, 5)[0] != listed(20, 5, seed=1)[0]).any()


def test_any_start_and_any_slice_are_those_of_the_whole():
    whole = listed(23, 6)
    for start in range(10):
        for mine in (slice(None), slice(2, 4)):
            for values, expected in zip(listed(23, 6, start, mine), whole):
                np.testing.assert_array_equal(values, expected[start:, mine])


def test_shares_are_the_slice_in_order():
    (numbers, positions), whole = listed(23, 6, mine=slice(2, 6)), listed(23, 6)
    shares = order.training_order(recipe(epochs=3), 23, 6, 0, slice(2, 6), 2)
    for one, expected in zip(zip(*shares.as_numpy_iterator()), (numbers, positions)):
        np.testing.assert_array_equal(np.array(one).reshape(-1, 4), expected)
    np.testing.assert_array_equal(positions, whole[1][:, 2:])


def test_copies_stand_apart_and_have_positions_of_their_own():
    numbers, positions = listed(24, 12, aug_repeats=3)
    assert numbers.shape == (6, 12) and len(set(positions.ravel())) == 72
    for step in numbers:
        np.testing.assert_array_equal(step, np.tile(step[:4], 3))
        assert len(set(step)) == 4
    assert len(set(numbers[:2].ravel())) == 8  # an epoch sees a third of the pictures


def test_a_batch_need_not_be_a_multiple_of_the_copies():
    """DeiT's 1,024 pictures in three copies each, a hundredth as large."""
    numbers, positions = listed(24, 10, aug_repeats=3)
    assert numbers.shape == (6, 10) and len(set(positions.ravel())) == 60
    for step in numbers:
        np.testing.assert_array_equal(step, np.tile(step[:4], 3)[:10])
        assert len(set(step)) == 4 and (step[::2] != step[1::2]).all()  # pairs are of different pictures


def test_a_share_is_a_whole_number():
    assert order.share_of(24, order.Worker(0, 3, 2), 2) == 2
    with pytest.raises(ValueError, match="24 cannot be divided among 5 workers x 1 replicas.*a multiple of 5"):
        order.share_of(24, order.Worker(0, 5, 1))


@pytest.mark.parametrize(
    "changes, batch_size, share, message",
    [
        ({}, 24, 24, "23 training pictures do not fill a batch of 24"),
        ({"mixup": 0.8}, 6, 3, "takes 3 at a time, an odd number; give batch_size=8, or another multiple of 4"),
        ({"cutmix": 1.0, "aug_repeats": 2}, 2, 2, "a single picture"),
        ({"cutmix": 1.0, "aug_repeats": 3}, 2, 2, "a single picture"),
    ],
)
def test_what_cannot_be_ordered(changes, batch_size, share, message):
    with pytest.raises(ValueError, match=message):
        order.check(recipe(**changes), 23, batch_size, share)


def test_what_can_be_ordered():
    order.check(recipe(aug_repeats=2, mixup=0.8), 23, 4, 2)
    order.check(recipe(), 23, 3, 3)
