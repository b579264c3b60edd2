"""From entries to variables: what is taken as it is, and what is resampled. (test_loading.py loads whole files.)"""

import numpy as np
import pytest
from safetensors.numpy import save_file

import keras_vit
from keras_vit.models import swin
from keras_vit.models.family import Variant
from keras_vit.models.saving import entries


def test_a_table_of_as_many_positions_is_taken_as_it_is(tmp_path):
    variant, shape = Variant("Toy", swin.SWIN, swin.Config(6, (1,), (2,), 5, 1)), (2, 5, 3)  # a window of 2 x 5
    model = variant(weights=None, input_shape=shape, classes=3)
    table = model.get_layer("stage0_block0").attn.bias_table
    assert tuple(table.shape) == (3, 9, 2)
    table.assign(np.arange(54.0).reshape(3, 9, 2))
    keras_vit.save_weights(model, tmp_path / "w.safetensors", layout="timm")
    again = variant(weights=tmp_path / "w.safetensors", input_shape=shape, classes=3)
    np.testing.assert_array_equal(again.get_layer("stage0_block0").attn.bias_table, table)


def test_a_square_number_of_positions_is_no_square(tmp_path):
    variant, shape = Variant("Toy", swin.SWIN, swin.Config(6, (1,), (2,), 5, 1)), (1, 5, 3)  # 9 offsets, all in a row
    model = variant(weights=None, input_shape=shape, classes=3)
    model.get_layer("stage0_block0").attn.bias_table.assign(np.arange(18.0).reshape(1, 9, 2))
    keras_vit.save_weights(model, tmp_path / "w.safetensors", layout="timm")
    again = variant(weights=tmp_path / "w.safetensors", input_shape=shape, classes=3)
    np.testing.assert_array_equal(again.get_layer("stage0_block0").attn.bias_table, np.arange(18.0).reshape(1, 9, 2))


def test_as_many_numbers_of_another_shape_do_not_fit(tmp_path):
    variant, shape = Variant("Toy", swin.SWIN, swin.Config(6, (1,), (2,), 2, 1)), (4, 4, 3)
    model = variant(weights=None, input_shape=shape, classes=3)
    arrays = {name: np.ascontiguousarray(array) for name, array in entries(model, "timm").items()}
    arrays["head.fc.weight"] = np.zeros((6, 3), "float32")
    save_file(arrays, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"head.fc.weight: \(3, 6\) for head/kernel \(6, 3\)"):
        variant(weights=tmp_path / "w.safetensors", input_shape=shape, classes=3)
