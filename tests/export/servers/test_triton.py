import re

import pytest

from keras_vit.export.servers import triton

ENDS = {
    "inputs": {"images": (None, 16, 24, 3)},
    "outputs": {"known_score": (None,), "probabilities": (None, 6)},
}


@pytest.fixture(scope="module")
def text():
    return triton.config('a "b"', ENDS, (1, 4), labels=True)


def test_ends_leave_the_batch_out(text):
    assert 'input [ { name: "images" data_type: TYPE_FP32 dims: [16, 24, 3] } ]' in text
    assert '{ name: "known_score" data_type: TYPE_FP32 dims: [1] reshape { shape: [] } },' in text
    assert '{ name: "probabilities" data_type: TYPE_FP32 dims: [6] label_filename: "labels.txt" }\n' in text


def test_names_are_quoted_and_braces_close(text):
    assert text.startswith('name: "a \\"b\\""\nplatform: "onnxruntime_onnx"\n')
    assert text.count("{") == text.count("}") and text.count("[") == text.count("]")


def test_batches_are_preferred_and_warmed_up(text):
    assert "max_batch_size: 4" in text and "preferred_batch_size: [1, 4]" in text
    assert re.findall(r"batch_size: (\d+)\n  inputs", text) == ["1", "4"]
    assert text.count("zero_data: true") == 2


def test_features_have_no_labels():
    maps = {"inputs": ENDS["inputs"], "outputs": {"P2": (None, 4, 6, 8), "P3": (None, 2, 3, 16)}}
    text = triton.config("maps", maps, (1,), labels=False)
    assert '{ name: "P2" data_type: TYPE_FP32 dims: [4, 6, 8] },\n' in text and "label_filename" not in text
