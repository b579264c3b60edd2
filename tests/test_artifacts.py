"""Finding versions, and whole-number tensors; the rest is seen through the predictor."""

import numpy as np
import pytest

from keras_vit.artifacts import _dequantized, _quantized, is_saved_model, load_saved_model, parameters, version_folder


def version(folder):
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


def test_versions_are_numbers(tmp_path):
    version(tmp_path / "m" / "9")
    newest = version(tmp_path / "m" / "10")
    version(tmp_path / "m" / ".11.0badcafe-1-1.tmp")  # half-written
    (tmp_path / "m" / "12").mkdir()
    assert version_folder(tmp_path / "m") == newest == version_folder(newest)


def test_bundle_of_one_model_and_of_several(tmp_path):
    only = version(tmp_path / "models" / "one" / "1")
    (tmp_path / "models" / "models.config").write_text("")
    assert is_saved_model(tmp_path) and version_folder(tmp_path) == only
    other = version(tmp_path / "models" / "two" / "1")
    assert version_folder(tmp_path, "two") == other
    with pytest.raises(ValueError, match="2 models"):
        version_folder(tmp_path)


def test_what_is_no_saved_model(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "1").write_text("a file")
    assert not is_saved_model(tmp_path)
    assert not is_saved_model(tmp_path / "1") and not is_saved_model(tmp_path / "nowhere")


@pytest.mark.parametrize("dtype, zero_point", [("uint8", 3), ("int8", -128), ("int16", 0)])
def test_quantising_is_undone_to_half_a_step(dtype, zero_point):
    details = {"dtype": np.dtype(dtype).type, "quantization": (1.25, zero_point)}
    values = np.linspace(0, 120, 50, dtype="float32")
    stored = _quantized(values, details)
    assert stored.dtype == dtype
    np.testing.assert_allclose(_dequantized(stored, details), values, atol=1.25 / 2 + 1e-5)


def test_quantising_clips_and_floats_pass():
    details = {"dtype": np.uint8, "quantization": (1.0, 0)}
    assert list(_quantized(np.array([-5.0, 300.0]), details)) == [0, 255]
    details = {"dtype": np.float32, "quantization": (0.0, 0)}
    values = np.array([0.25, 1e6], "float32")
    np.testing.assert_array_equal(_dequantized(_quantized(values, details), details), values)


def test_parameters_are_counted_once_over_all_signatures(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.weight, module.bias = tf.Variable(tf.ones((3, 4))), tf.Variable(tf.ones(4))
    one = tf.function(lambda x: {"y": x @ module.weight + module.bias}, [tf.TensorSpec([None, 3])])
    other = tf.function(lambda x: {"y": x @ module.weight}, [tf.TensorSpec([None, 3])])
    tf.saved_model.save(module, str(tmp_path / "1"), {"one": one, "other": other})
    assert parameters(load_saved_model(tmp_path / "1")) == 16
    tf.saved_model.save(
        tf.Module(), str(tmp_path / "2"), {"one": tf.function(lambda x: {"y": x}, [tf.TensorSpec([3])])}
    )
    assert parameters(load_saved_model(tmp_path / "2")) is None
