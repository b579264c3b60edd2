"""Normalising against numpy, on every kind of array."""

import numpy as np
import pytest

from keras_vit.preprocessing import normalize
from tests.preprocessing.samples import MEAN, STD, spec


def by_numpy(x, mean, std):
    return (np.asarray(x, "float64") / 255 - np.asarray(mean)) / np.asarray(std)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64"])
def test_normalize_numpy(dtype):
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(dtype)
    out = normalize(x, spec(4))
    assert isinstance(out, np.ndarray) and out.dtype == np.float32
    np.testing.assert_allclose(out, by_numpy(x, MEAN, STD), atol=1e-6)


def test_normalize_a_backend_tensor_and_a_symbolic_one():
    import keras

    x = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype("uint8")
    out = normalize(keras.ops.convert_to_tensor(x), spec(4))
    assert keras.ops.is_tensor(out) and keras.backend.standardize_dtype(out.dtype) == "float32"
    np.testing.assert_allclose(keras.ops.convert_to_numpy(out), normalize(x, spec(4)), atol=1e-6)
    image = keras.Input((3, 4, 3), dtype="uint8")
    model = keras.Model(image, normalize(image, spec(4)))
    np.testing.assert_allclose(model.predict(x, verbose=0), normalize(x, spec(4)), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_other_channel_counts_take_the_mean_of_the_means(channels):
    x = np.random.default_rng(0).integers(0, 256, (8, 9, channels))
    expected = by_numpy(x, [sum(MEAN) / 3] * channels, [sum(STD) / 3] * channels)
    np.testing.assert_allclose(normalize(x, spec(8)), expected, atol=1e-6)


def test_channels_first_is_refused():
    import keras

    with pytest.raises(ValueError, match="channels_first"):
        normalize(np.zeros((2, 3, 32, 32)), spec(32))
    keras.config.set_image_data_format("channels_first")  # undone after every test
    with pytest.raises(ValueError, match="channels_last"):
        normalize(np.zeros((2, 32, 32, 3)), spec(32))
