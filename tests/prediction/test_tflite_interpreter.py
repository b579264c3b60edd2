"""Integer tensors; the interpreter itself is tested through the predictor, the replay and the edge files."""

import numpy as np
import pytest

from keras_vit.prediction.tflite_interpreter import dequantized, quantized


@pytest.mark.parametrize("dtype, zero_point", [("uint8", 3), ("int8", -128), ("int16", 0)])
def test_quantizing_is_undone_to_half_a_step(dtype, zero_point):
    details = {"dtype": np.dtype(dtype).type, "quantization": (1.25, zero_point)}
    values = np.linspace(0, 120, 50, dtype="float32")
    stored = quantized(values, details)
    assert stored.dtype == dtype
    np.testing.assert_allclose(dequantized(stored, details), values, atol=1.25 / 2 + 1e-5)


def test_quantizing_clips_and_floats_pass():
    details = {"dtype": np.uint8, "quantization": (1.0, 0)}
    assert list(quantized(np.array([-5.0, 300.0]), details)) == [0, 255]
    details = {"dtype": np.float32, "quantization": (0.0, 0)}
    values = np.array([0.25, 1e6], "float32")
    np.testing.assert_array_equal(dequantized(quantized(values, details), details), values)
