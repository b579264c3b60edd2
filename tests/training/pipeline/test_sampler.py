import numpy as np
import pytest

from keras_vit.training.datasets.splits import Split
from keras_vit.training.pipeline import sampler
from tests.training.toy import recipe


def order(total, batch_size, start=0, worker_slice=slice(None), chosen=None, drawn=None, **changes):
    """(indices, positions), a row per step."""
    width, settings = len(range(batch_size)[worker_slice]), recipe(epochs=3, **changes)
    dataset = sampler.training_order(settings, total, batch_size, start, worker_slice, width, chosen, drawn)
    pairs = np.array(list(dataset.as_numpy_iterator()), "int64").reshape(-1, 2, width)
    return pairs[:, 0], pairs[:, 1]


def test_an_epoch_has_every_image_once_in_an_order_of_its_own():
    indices, positions = order(20, 5)
    np.testing.assert_array_equal(positions.ravel(), np.arange(60))
    epochs = indices.reshape(3, 20)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(20), (3, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_seed_determines_the_order():
    assert (order(20, 5)[0] == order(20, 5)[0]).all() and (order(20, 5)[0] != order(20, 5, seed=1)[0]).any()


def test_any_first_step_and_any_slice_give_that_section_of_the_whole_order():
    whole = order(23, 6)
    for start in range(10):
        for worker_slice in (slice(None), slice(2, 4)):
            for values, expected in zip(order(23, 6, start, worker_slice), whole):
                np.testing.assert_array_equal(values, expected[start:, worker_slice])


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [4, 5, 8], [2, 9], [], list(range(9))])
def test_chosen_steps_are_those_of_the_whole_order(chosen):
    whole = order(23, 6)  # three steps per epoch
    for start in (0, 2, 5):
        rows = [step for step in chosen if start <= step < 9]
        found = order(23, 6, start, slice(2, 4), np.array([step for step in chosen if step < 9], "int64"))
        for values, expected in zip(found, whole):
            np.testing.assert_array_equal(values, expected[rows, 2:4])


def test_micro_batches_are_consecutive_sections_of_the_slice():
    (indices, positions), whole = order(23, 6, worker_slice=slice(2, 6)), order(23, 6)
    micro_batches = sampler.training_order(recipe(epochs=3), 23, 6, 0, slice(2, 6), 2)
    for one, expected in zip(zip(*micro_batches.as_numpy_iterator()), (indices, positions)):
        np.testing.assert_array_equal(np.array(one).reshape(-1, 4), expected)
    np.testing.assert_array_equal(positions, whole[1][:, 2:])


def test_copies_are_spread_over_the_batch_and_have_positions_of_their_own():
    indices, positions = order(24, 12, aug_repeats=3)
    assert indices.shape == (6, 12) and len(set(positions.ravel())) == 72
    for step in indices:
        np.testing.assert_array_equal(step, np.tile(step[:4], 3))
        assert len(set(step)) == 4
    assert len(set(indices[:2].ravel())) == 8  # an epoch sees a third of the images


def test_a_batch_need_not_be_a_multiple_of_the_copies():
    """DeiT's 1,024 images in three copies each, a hundredth as large."""
    indices, positions = order(24, 10, aug_repeats=3)
    assert indices.shape == (6, 10) and len(set(positions.ravel())) == 60
    for step in indices:
        np.testing.assert_array_equal(step, np.tile(step[:4], 3)[:10])
        assert len(set(step)) == 4 and (step[::2] != step[1::2]).all()  # pairs are of different images


def test_a_batch_that_cannot_be_divided_equally_is_an_error():
    assert sampler.micro_batch_size(24, sampler.Worker(0, 3, 2), 2) == 2
    with pytest.raises(ValueError, match="24 cannot be divided among 5 workers x 1 replicas.*a multiple of 5"):
        sampler.micro_batch_size(24, sampler.Worker(0, 5, 1))


@pytest.mark.parametrize(
    "changes, batch_size, micro_batch_size, message",
    [
        ({}, 24, 24, "23 training images do not fill a batch of 24"),
        ({"mixup": 0.8}, 6, 3, "takes 3 at a time, an odd number; give batch_size=8, or another multiple of 4"),
        ({"cutmix": 1.0, "aug_repeats": 2}, 2, 2, "a single image"),
        ({"cutmix": 1.0, "aug_repeats": 3}, 2, 2, "a single image"),
    ],
)
def test_batch_sizes_that_do_not_fit_the_images_or_their_mixing_are_errors(
    changes, batch_size, micro_batch_size, message
):
    with pytest.raises(ValueError, match=message):
        sampler.check_batch_size(recipe(**changes), 23, batch_size, micro_batch_size)


def test_batch_sizes_that_fit_are_accepted():
    sampler.check_batch_size(recipe(aug_repeats=2, mixup=0.8), 23, 4, 2)
    sampler.check_batch_size(recipe(), 23, 3, 3)


UNEVEN = Split(tuple(map(str, range(100))), np.repeat(np.arange(3), (81, 16, 3)).astype("int32"))


@pytest.mark.parametrize("kind, shares", [("balanced", (1, 1, 1)), ("sqrt", (9, 4, 3**0.5))])
def test_classes_are_drawn_in_their_shares_and_their_images_equally(kind, shares):
    epochs = order(100, 10, drawn=sampler.draw_weights(kind, UNEVEN))[0].reshape(3, 100)
    wanted = 100 * np.array(shares) / sum(shares)
    for epoch in epochs:
        assert (np.abs(np.bincount(UNEVEN.labels[epoch]) - wanted) < 1).all()
        for label, images in enumerate((81, 16, 3)):
            drawn = np.bincount(epoch, minlength=100)[UNEVEN.labels == label]
            assert (np.abs(drawn - wanted[label] / images) < 1).all()
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_drawn_classes_are_spread_over_the_epoch():
    first, *_ = order(100, 50, drawn=sampler.draw_weights("balanced", UNEVEN))[0]
    assert all(8 <= count <= 25 for count in np.bincount(UNEVEN.labels[first], minlength=3))


def test_drawn_images_do_not_depend_on_the_first_step_or_the_slice():
    drawn = sampler.draw_weights("balanced", UNEVEN)
    whole, positions = order(100, 10, drawn=drawn)
    np.testing.assert_array_equal(positions.ravel(), np.arange(300))
    np.testing.assert_array_equal(order(100, 10, 13, slice(2, 6), drawn=drawn)[0], whole[13:, 2:6])
    np.testing.assert_array_equal(order(100, 10, 3, chosen=np.array([1, 7, 25]), drawn=drawn)[0], whole[[7, 25]])
    assert (order(100, 10, drawn=drawn, seed=1)[0] != whole).any()


def test_images_with_several_labels_are_drawn_by_the_rarest_of_them():
    labels = np.array([[1, 1, 0]] * 2 + [[1, 0, 0]] * 6 + [[0, 0, 0]] * 4, "uint8")
    groups, weights = sampler.draw_weights("balanced", Split(tuple(map(str, range(12))), labels))
    np.testing.assert_array_equal(groups, [1] * 2 + [0] * 6 + [3] * 4)
    np.testing.assert_allclose(weights, [1 / 2] * 2 + [1 / 6] * 6 + [1 / 4] * 4)
