"""Every family's toy in every quantization, and for GPUs."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_vit.export.edge import gpu, target, tflite
from keras_vit.export.edge.quantizations import QUANTIZATIONS
from keras_vit.export.model.source import ExportedModel
from keras_vit.export.parity import parity
from keras_vit.export.tflite_graph import half
from keras_vit.preprocessing import Spec
from tests.export.tflite_graph.files import outputs
from tests.models.toys import TOYS


def toy(name):
    """A family's toy as it is exported, with weights by which the outputs differ, and no table is all zeros."""
    variant, shape = TOYS[name]
    model = variant(weights=None, input_shape=shape, classes=5)
    draw = np.random.default_rng(0)
    for weight in model.weights:
        noise = 0.02 * draw.normal(size=weight.shape).astype("float32")
        weight.assign((8 * weight if weight.path.endswith("head/kernel") else weight) + noise)
    return ExportedModel(model, Spec(shape[:2], (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)), tuple("abcde"), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOYS)
def test_family(name, tmp_path):
    source = toy(name)
    expected = parity.expect(source, folder=tmp_path)
    report = tflite.convert(source, tmp_path / "edge", QUANTIZATIONS, expected)
    # XNNPACK has no pooling whose stride is longer than its window, by which CoaT's blocks shrink maps to a quarter.
    assert report["files"][0]["partitions"] == (2 if name == "coat" else 1)
    for file in report["files"]:
        assert file["within_limits"] and file["max_rank"] <= 4
        assert (file["input"] == "uint8") == (file["quant"] in ("int8", "int16x8"))
        assert 0 < file["delegated_nodes"] <= file["total_nodes"] == sum(file["operators"].values())


@pytest.mark.slow
@pytest.mark.parametrize("name", TOYS)
def test_gpus_take_every_family_whole(name, tmp_path):
    source = toy(name)
    tflite.run_converter(source, tmp_path / "float.tflite", tmp_path / "static")
    content, side = (tmp_path / "float.tflite").read_bytes(), source.spec.size
    images = np.random.default_rng(0).integers(0, 256, (4, *side, 3)).astype("uint8")
    rewritten = target.rewritten(content, images, images[:1])
    assert gpu.refusals(content) and gpu.refusals(rewritten) == []
    exact = outputs(content, images, tmp_path)
    np.testing.assert_allclose(outputs(rewritten, images, tmp_path), exact, rtol=1e-5)
    found = half.emulate(rewritten, images, tmp_path)
    assert found.overflow is None
    np.testing.assert_allclose(found.outputs[0], exact, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext", "coat"])
def test_depthwise_convolutions_have_25_taps_at_most(name, tmp_path):
    """Larger ones are slow in XNNPACK, and with int8 weights it does not take them at all."""
    variant, shape = TOYS[name]
    spec = Spec(shape[:2], (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    source = ExportedModel(variant(weights=None, input_shape=shape, classes=5), spec, tuple("abcde"), name)
    tflite.run_converter(source, tmp_path / "float.tflite", tmp_path / "static")
    graph = schema.ModelT.InitFromPackedBuf((tmp_path / "float.tflite").read_bytes(), 0).subgraphs[0]
    kernels = [
        graph.tensors[operator.inputs[1]].shape[1:3].prod()
        for operator in graph.operators
        if operator.builtinOptionsType == schema.BuiltinOptions.DepthwiseConv2DOptions
    ]
    assert kernels and max(kernels) == 25
