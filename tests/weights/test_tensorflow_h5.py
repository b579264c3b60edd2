"""tf_model.h5 in PyTorch's names and shapes; what is no such file, and damaged ones."""

import zipfile

import h5py
import numpy as np
import pytest

from keras_vit.weights import readers, tensorflow_h5
from tests.libraries.golden import GOLDEN


@pytest.mark.parametrize(
    "name, expected",
    [
        ("vit/tf_vi_t_model/vit/embeddings/cls_token:0", "vit.embeddings.cls_token"),
        (
            "vit/tf_vi_t_for_image_classification/vit/encoder/layer_._11/attention/output/dense/kernel:0",
            "vit.encoder.layer.11.attention.output.dense.weight",
        ),
        ("classifier/tf_vi_t_for_image_classification_1/classifier/bias:0", "classifier.bias"),
        ("cls_classifier/mine/tf_dei_t/cls_classifier/kernel:0", "cls_classifier.weight"),
        (
            "swin/tf_swin_model/swin/encoder/layers.0/blocks.1/layernorm_before/gamma:0",
            "swin.encoder.layers.0.blocks.1.layernorm_before.weight",
        ),
        (
            "convnext/tf_conv_next_model/convnext/encoder/stages.1/downsampling_layer.0/beta:0",
            "convnext.encoder.stages.1.downsampling_layer.0.bias",
        ),
    ],
)
def test_a_variables_name_in_pytorch(name, expected):
    assert tensorflow_h5.torch_name(name) == expected


def write(path, arrays, **attributes):
    with h5py.File(path, "w") as file:
        file.attrs.update({"layer_names": [b"vit"], **attributes})
        for name, array in arrays.items():
            file[name] = array
    return path


ROOT = "vit/tf_vi_t_model/vit"


def test_kernels_get_pytorchs_axes_and_nothing_else_does(tmp_path):
    arrays = {
        f"{ROOT}/dense/kernel:0": np.arange(6.0).reshape(2, 3),
        f"{ROOT}/projection/kernel:0": np.arange(120.0).reshape(4, 5, 3, 2),
        f"{ROOT}/table:0": np.arange(6.0).reshape(2, 3),
        f"{ROOT}/norm/gamma:0": np.arange(3, dtype="float16"),
    }
    path = write(tmp_path / "tf_model.h5", arrays)
    assert tensorflow_h5.is_tensorflow(path)
    found = readers.read(path)
    assert set(found) == {"vit.dense.weight", "vit.projection.weight", "vit.table", "vit.norm.weight"}
    assert found.shapes()["vit.projection.weight"] == (2, 3, 4, 5) == found["vit.projection.weight"].shape
    assert found["vit.projection.weight"][1, 2, 3, 4] == arrays[f"{ROOT}/projection/kernel:0"][3, 4, 2, 1]
    np.testing.assert_array_equal(found["vit.dense.weight"], arrays[f"{ROOT}/dense/kernel:0"].T)
    np.testing.assert_array_equal(found["vit.table"], arrays[f"{ROOT}/table:0"])
    assert found["vit.norm.weight"].dtype == np.float32


def test_other_files_are_none(tmp_path):
    other = write(tmp_path / "other.h5", {"dense/dense/kernel:0": np.zeros((2, 2))})  # of Keras 2
    (tmp_path / "text.h5").write_text("text")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    assert not any(map(tensorflow_h5.is_tensorflow, (other, tmp_path / "text.h5", tmp_path / "cut.h5")))


def test_two_variables_of_one_name_are_an_error(tmp_path):
    arrays = {f"vit/{model}/vit/cls_token:0": np.zeros(2) for model in ("tf_a", "tf_b")}
    with pytest.raises(ValueError, match="vit.cls_token occurs twice"):
        readers.read(write(tmp_path / "tf_model.h5", arrays))


def test_a_file_that_declares_more_than_it_holds_is_not_read(tmp_path):
    path = tmp_path / "tf_model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"vit"]
        file.create_dataset(f"{ROOT}/dense/kernel:0", (10**6, 10**6), "float32", chunks=(1024, 1024))
    with pytest.raises(ValueError, match="declare arrays of more than"):
        readers.read(path)


def test_a_file_cut_short_is_not_read(tmp_path):
    with zipfile.ZipFile(GOLDEN) as archive:
        content = archive.read("TFViTForImageClassification/model/tf_model.h5")
    for share in (0.05, 0.5, 0.99):
        path = tmp_path / "tf_model.h5"
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ValueError, match="tf_model.h5"):
            found = readers.read(path)
            [found[name] for name in found]
