"""Effective receptive fields: of convolutions exactly, and in every family."""

import keras
import numpy as np
import pytest

from keras_vit.analysis import effective_receptive_field
from keras_vit.analysis.receptive_field import central_square
from tests.models.cases import one_per_paper, params
from tests.models.toys import TOYS


def convolutions(depth, side=15, trained=True):
    """`depth` convolutions 3 x 3, with kernels of ones or of zeros."""
    image = x = keras.Input((side, side, 2))
    init = "ones" if trained else "zeros"
    for i in range(depth):
        x = keras.layers.Conv2D(2, 3, padding="same", kernel_initializer=init, name=f"block{i}")(x)
    return keras.Model(image, x), np.random.default_rng(0).normal(size=(3, side, side, 2)).astype("float32")


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_convolutions_see_what_their_kernels_reach(depth):
    """Of kernels of ones, as many paths as there are (Luo et al., Sec. 2.1): the binomial of order three."""
    model, images = convolutions(depth)
    field = effective_receptive_field(model, images, f"block{depth - 1}")
    line = np.ones(1)
    for _ in range(depth):
        line = np.convolve(line, np.ones(3))
    expected = np.pad(np.outer(line, line), 7 - depth)
    np.testing.assert_allclose(field, expected / expected.sum(), atol=1e-6)


def test_a_block_is_chosen_by_name_and_the_last_by_default():
    model, images = convolutions(3)
    assert np.count_nonzero(effective_receptive_field(model, images, "block0")) == 9
    last = effective_receptive_field(model, images)
    np.testing.assert_array_equal(last, effective_receptive_field(model, images, "block2"))


def test_fields_are_averaged_over_images(monkeypatch):
    """Of a convolution and a ReLU, each image has a field of its own; runs of any length add up."""
    image = keras.Input((9, 9, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 3, padding="same", activation="relu", name="block0")(image))
    images = np.random.default_rng(0).normal(size=(10, 9, 9, 1)).astype("float32")
    lit = np.asarray(model(images))[:, 4, 4, 0] > 0
    assert lit.any() and not lit.all()
    kernel = np.pad(np.abs(model.get_layer("block0").kernel[..., 0, 0]), 3)
    field = effective_receptive_field(model, images)
    np.testing.assert_allclose(field, kernel / kernel.sum(), atol=1e-6)
    monkeypatch.setattr("keras_vit.analysis.receptive_field.BATCH", 3)
    np.testing.assert_allclose(effective_receptive_field(model, images), field, atol=1e-6)


@pytest.mark.parametrize("name", params(one_per_paper(), TOYS))
def test_every_family(name):
    variant, shape = TOYS[name]
    model = variant(weights=None, input_shape=shape, include_top=False)
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    field = effective_receptive_field(model, images)
    assert field.shape == shape[:2] and field.dtype == "float32" and field.min() >= 0
    np.testing.assert_allclose(field.sum(), 1, rtol=1e-5)


def test_windows_limit_what_is_seen():
    """The first block of Swin sees its own window and nothing else."""
    variant, shape = TOYS["swin"]
    model = variant(weights=None, input_shape=shape)
    images = np.random.default_rng(0).normal(size=(1, *shape)).astype("float32")
    field = effective_receptive_field(model, images, "stage0_block0")
    seen = np.zeros(shape[:2], bool)
    seen[24:36, 24:36] = True  # the place (6, 7) of 12 x 15, in windows of 3 x 3 patches of 4 x 4 pixels
    np.testing.assert_array_equal(field > 0, seen)


def test_central_squares():
    field = np.zeros((9, 11))
    field[3, 6] = 0.5
    field[2:5, 5:8] += 0.3 / 9
    field[0:7, 3:10] += 0.2 / 49
    assert central_square(field, 0.5) == (3, 6, 1)
    assert central_square(field, 0.8) == (3, 6, 3)
    assert central_square(field, 1.0) == (3, 6, 7)


def test_arguments_that_do_not_fit_are_refused():
    model, images = convolutions(1, trained=False)
    with pytest.raises(ValueError, match="its gradient is 0 everywhere"):
        effective_receptive_field(model, images)
    with pytest.raises(ValueError, match="layer: expected a block"):
        effective_receptive_field(model, images, "head")
    with pytest.raises(ValueError, match="expected a batch"):
        effective_receptive_field(model, images[0])
