import numpy as np
import pytest

from keras_vit.training.datasets.stratification import iterative_split

RNG = np.random.default_rng(0)
LABELS = (RNG.random((500, 8)) < np.geomspace(0.5, 0.02, 8)).astype("uint8")  # the last class has about ten images
SIZES = (50, 100, 350)


def test_subsets_have_their_sizes_and_every_image_once():
    subsets = iterative_split(LABELS, SIZES, 3)
    assert tuple(map(len, subsets)) == SIZES
    np.testing.assert_array_equal(np.sort(np.concatenate(subsets)), np.arange(500))
    assert all((np.diff(subset) > 0).all() for subset in subsets)


@pytest.mark.parametrize("seed", range(3))
def test_every_label_is_in_proportion(seed):
    """Within one image of it for rare labels, and closer than drawing at random comes."""
    counts = np.array([LABELS[subset].sum(0) for subset in iterative_split(LABELS, SIZES, seed)])
    wanted = np.outer(SIZES, LABELS.sum(0)) / 500
    assert np.abs(counts - wanted)[:, 4:].max() <= 1
    drawn = np.split(np.random.default_rng(seed).permutation(500), np.cumsum(SIZES)[:-1])
    at_random = np.array([LABELS[subset].sum(0) for subset in drawn])
    assert np.abs(counts - wanted).sum() < 0.5 * np.abs(at_random - wanted).sum()


def test_the_seed_decides():
    one, again, other = (iterative_split(LABELS, SIZES, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(*pair) for pair in zip(one, again))
    assert not all(np.array_equal(*pair) for pair in zip(one, other))


def test_images_without_a_label_are_in_proportion_too():
    labels = np.zeros((60, 3), "uint8")
    labels[np.arange(50), np.arange(50) % 3] = labels[:30, 2] = 1
    for seed in range(5):
        counts = [int((~labels[subset].any(1)).sum()) for subset in iterative_split(labels, (6, 6, 48), seed)]
        assert counts == [1, 1, 8]
    assert [len(subset) for subset in iterative_split(0 * labels, (10, 50), 0)] == [10, 50]


def test_a_label_with_one_image_goes_to_the_largest_subset():
    labels = np.eye(10, dtype="uint8").repeat([1, *[11] * 9], 0)
    assert 0 in iterative_split(labels, (10, 10, 80), 0)[2]


def test_sizes_that_do_not_sum_to_the_images_are_an_error():
    with pytest.raises(ValueError, match=r"sizes must sum to 500, the number of images. Received: \[50, 100\]"):
        iterative_split(LABELS, (50, 100), 0)
