import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from keras_vit.export.interchange import replay


def test_batches_of_images_by_onnx_runtime(tmp_path):
    """A "model" that sums an image's values per channel."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 4, 5, 3])
    result = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["B", 3])
    node = helper.make_node("ReduceMean", ["images"], ["probabilities"], axes=[1, 2], keepdims=0)
    graph = helper.make_graph([node], "mean", [images], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.save(model, tmp_path / "mean.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    script = str(Path(replay.__file__))
    paths = [str(tmp_path / name) for name in ("mean.onnx", "images.npy", "outputs.npz")]
    subprocess.run([sys.executable, "-P", script, "onnx", *paths], check=True, capture_output=True)
    outputs = np.load(paths[2])
    assert list(outputs) == ["probabilities"]
    np.testing.assert_allclose(outputs["probabilities"], pixels.mean((1, 2)), rtol=1e-5)


def test_a_runtime_that_imports_tensorflow_is_refused(tmp_path, monkeypatch):
    """TensorFlow is loaded in this process."""
    monkeypatch.setattr(replay, "onnx", lambda path: lambda images: {"probabilities": images[:, 0, 0]})
    np.save(tmp_path / "images.npy", np.zeros((2, 4, 5, 3), np.uint8))
    with pytest.raises(RuntimeError, match="a.onnx imported Keras or TensorFlow"):
        replay.main("onnx", "a.onnx", tmp_path / "images.npy", tmp_path / "outputs.npz")
