"""The pseudo-inverse resize against its definition; tests/libraries/sizes.py compares with timm's."""

import numpy as np
import pytest

from keras_vit.system.limits import MAX_GRID
from keras_vit.weights.patch_kernel import patch_kernel
from keras_vit.weights.resample import input_channels, resample_grid

RNG = np.random.default_rng(0)


def resize_matrix(old, new):
    """(new pixels, old pixels): what resizing makes of each patch that has one bright pixel."""
    basis = np.eye(old[0] * old[1]).reshape(-1, *old, 1)
    return np.stack([resample_grid(patch, new).ravel() for patch in basis], axis=1)


@pytest.mark.parametrize("old, new", [((4, 4), (7, 7)), ((7, 7), (4, 4)), ((5, 4), (3, 6)), ((2, 2), (2, 5))])
def test_the_new_kernel_is_the_smallest_of_those_with_the_least_expected_difference(old, new):
    kernel = RNG.standard_normal((*old, 3, 2))
    resized = patch_kernel(kernel, (*new, 3, 2), (8, 8))
    transposed = resize_matrix(old, new).T  # B^T w' = w for patches whose pixels vary independently
    expected, *_ = np.linalg.lstsq(transposed, kernel.reshape(-1, 6), rcond=None)
    np.testing.assert_allclose(resized.reshape(-1, 6), expected, atol=1e-10)


@pytest.mark.parametrize("new", [(9, 9), (6, 11), (16, 12)])
def test_larger_patches_of_a_larger_image_give_what_the_patches_gave(new):
    kernel, patch = RNG.standard_normal((6, 6, 3, 4)), RNG.uniform(size=(6, 6, 3))
    resized = patch_kernel(kernel, (*new, 3, 4), (8, 8))
    before, after = np.einsum("hwc,hwco->o", patch, kernel), np.einsum(
        "hwc,hwco->o", resample_grid(patch, new), resized
    )
    np.testing.assert_allclose(after, before, atol=1e-10)


def test_smaller_patches_keep_what_flat_patches_give():
    """A patch of one colour stays so when it is resized; up to what the pseudo-inverse cannot keep at the borders."""
    kernel = np.ones((16, 16, 3, 1))
    resized = patch_kernel(kernel, (8, 8, 3, 1), (8, 8))
    np.testing.assert_allclose(resized.sum(), kernel.sum(), rtol=0.02)


def test_a_kernel_grown_and_shrunk_back_is_itself():
    kernel = RNG.standard_normal((5, 5, 3, 2))
    grown = patch_kernel(kernel, (12, 12, 3, 2), (8, 8))
    twice = np.einsum("hi,hwco,wj->ijco", *_resizes(5, 12, grown), optimize=True)
    np.testing.assert_allclose(twice, kernel, atol=1e-10)


def _resizes(old, new, kernel):
    """B^T along both axes, which takes a grown kernel back."""
    line = np.stack([resample_grid(row.reshape(old, 1, 1), (new, 1)).ravel() for row in np.eye(old)], axis=1)
    return line, kernel, line


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_patches_and_input_channels_are_adapted_at_once(channels):
    kernel = RNG.standard_normal((4, 4, 3, 5))
    at_once = patch_kernel(kernel, (6, 5, channels, 5), (8, 8))
    first = input_channels(kernel, (4, 4, channels, 5), (8, 8))
    np.testing.assert_allclose(at_once, patch_kernel(first, (6, 5, channels, 5), (8, 8)), atol=1e-12)


def test_patches_of_the_same_size_are_only_given_their_channels():
    kernel = RNG.standard_normal((4, 4, 3, 5)).astype("float32")
    np.testing.assert_array_equal(patch_kernel(kernel, (4, 4, 3, 5), (8, 8)), kernel)
    grey = patch_kernel(kernel, (4, 4, 1, 5), (8, 8))
    np.testing.assert_array_equal(grey, input_channels(kernel, (4, 4, 1, 5), (8, 8)))


@pytest.mark.parametrize("shape", [(4, 4, 3, 6), (4, 4, 3), (0, 0, 3, 5), (4, 4, 0, 5)])
def test_other_convolutions_are_returned_unchanged(shape):
    kernel = np.zeros(shape)
    assert patch_kernel(kernel, (8, 8, 3, 5), (8, 8)) is kernel


def test_the_sides_of_a_patch_are_bounded():
    with pytest.raises(ValueError, match=f"MAX_GRID.*Received: {MAX_GRID + 1}"):
        patch_kernel(np.zeros((MAX_GRID + 1, 1, 1, 1)), (4, 4, 1, 1), (8, 8))
