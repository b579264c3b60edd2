import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.tflite_graph import half
from tests.export.tflite_graph.files import convert, outputs

SHAPE = (1, 4, 4, 3)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(1, 256, (3, *SHAPE[1:])).astype("uint8")


def test_what_operators_give_is_rounded(images, tmp_path):
    """(x + 2048) - 2048 in float16 loses the odd numbers: they are two apart there."""
    content = convert(lambda x: tf.reshape(tf.nn.relu(x + 2048.0) - 2048.0, (1, -1)), SHAPE)
    found = half.emulate(content, images, tmp_path)
    x = images.astype("float16")
    np.testing.assert_array_equal(found.outputs[0], ((x + np.float16(2048)) - np.float16(2048)).reshape(3, -1))
    assert (found.outputs[0] != images.reshape(3, -1)).any() and found.overflow is None


def test_constants_are_rounded(images, tmp_path):
    weight = np.float32(1 + 2.0**-12)
    content = convert(lambda x: tf.reshape(x * weight, (1, -1)), SHAPE)
    assert (outputs(content, images, tmp_path) != images.reshape(3, -1)).all()
    found = half.emulate(content, images, tmp_path)
    np.testing.assert_array_equal(found.outputs[0], images.reshape(3, -1))
    assert found.overflow is None and found.largest == images.max()


@pytest.mark.parametrize("function", [lambda x: tf.exp(-x * x), lambda x: 1 / (x * 1e-9)])
def test_the_first_overflow_is_named(images, function, tmp_path):
    """Also where what follows is finite again."""
    content = convert(lambda x: tf.reshape(tf.tanh(function(x + 300.0)), (1, -1)), SHAPE)
    operator, tensor = half.emulate(content, images, tmp_path).overflow
    assert operator in ("MUL", "DIV") and tensor


def test_sums_of_magnitudes(images, tmp_path):
    weights = np.random.default_rng(0).normal(size=(48, 5)).astype("float32")
    content = convert(lambda x: tf.matmul(tf.reshape(x, (1, 48)), weights), SHAPE)
    most, tensor = half.largest_sum(content, images, tmp_path)
    assert most == pytest.approx((images.reshape(3, 48) @ np.abs(weights)).max(), rel=1e-5) and tensor
