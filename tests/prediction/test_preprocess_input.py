"""Resizing and normalising in one call, for arrays, tensors and data pipelines."""

import numpy as np
import pytest

from keras_vit.prediction.preprocess_input import preprocess_input
from keras_vit.preprocessing import normalize
from keras_vit.weights import catalogue
from tests.preprocessing.samples import photographs, spec


def test_preprocess_input_resizes_only_other_sizes():
    target = spec((16, 24), crop_pct=0.8)
    small, right = np.full((2, 9, 9, 3), 77, "uint8"), photographs()[0][:16, :24]
    np.testing.assert_array_equal(preprocess_input(right, target), normalize(right, target))
    out = preprocess_input(small, target)
    assert isinstance(out, np.ndarray) and out.shape == (2, 16, 24, 3)
    np.testing.assert_allclose(out, normalize(np.full_like(out, 77), target))


def test_preprocess_input_of_tensors():
    import keras
    import tensorflow as tf

    image = photographs()[0]
    expected = preprocess_input(image, spec(32))
    assert isinstance(preprocess_input(tf.constant(image), spec(32)), tf.Tensor)
    out = preprocess_input(keras.ops.convert_to_tensor(image), spec(32))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(out), expected, atol=1e-6)
    symbolic = keras.Input((None, None, 3))
    assert preprocess_input(symbolic, spec(32)).shape == (None, None, None, 3)
    with pytest.raises(ValueError, match=r"input_shape=\(32, 32, 3\)"):
        preprocess_input(keras.Input((40, 40, 3)), spec(32))


def test_preprocess_input_in_tf_data():
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8)
    data = tf.data.Dataset.from_tensor_slices(images).map(lambda x: preprocess_input(x, spec(8)))
    expected = preprocess_input(images, spec(8))
    np.testing.assert_allclose(np.stack(list(data.as_numpy_iterator())), expected, atol=1e-6)


def test_a_spec_file_and_a_name_stand_for_a_spec(tmp_path):
    image, file = photographs()[0], tmp_path / "preprocessing.json"
    spec(32, crop_pct=0.9).save(file)
    np.testing.assert_array_equal(preprocess_input(image, file), preprocess_input(image, spec(32, crop_pct=0.9)))
    expected = preprocess_input(image, catalogue.default("SwinT").spec)
    np.testing.assert_array_equal(preprocess_input(image, "SwinT"), expected)


def test_spec_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="a folder or a preprocessing.json"):
        preprocess_input(np.zeros((8, 8, 3)), 224)


def test_channels_first_is_refused():
    with pytest.raises(ValueError, match="channels_first"):
        preprocess_input(np.zeros((2, 3, 32, 32)), spec(32))
