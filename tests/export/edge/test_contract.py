import dataclasses

import pytest

from keras_vit.export.edge import contract
from keras_vit.export.tflite_graph import flatbuffer


@pytest.fixture
def single(converted):
    return converted[0] / "toys_16x24_fp32.tflite"


def test_a_valid_file_returns_its_contents(single):
    assert contract.check(single) == flatbuffer.inspect_file(single)


def test_an_operator_that_is_not_allowed_is_named_with_its_layer(single, monkeypatch):
    monkeypatch.setattr(contract, "OPERATORS", contract.OPERATORS - {"GELU"})
    with pytest.raises(
        ValueError, match=r"fp32.tflite has operators.*not kept: GELU \(in gelu\), GELU \(in hidden\)\."
    ):
        contract.check(single)


def test_a_large_rank_is_named_with_its_layer(single, monkeypatch):
    monkeypatch.setattr(contract, "RANK", 3)
    with pytest.raises(ValueError, match=r"tensors of rank 4, above 3.*CONV_2D \(in stem\).* and \d+ more"):
        contract.check(single)


def test_what_flatbuffer_rejects_is_rejected(single, monkeypatch):
    contents = dataclasses.replace(flatbuffer.inspect_file(single), foreign=("FlexErf (x)",))
    monkeypatch.setattr(flatbuffer, "inspect_file", lambda path: contents)
    with pytest.raises(ValueError, match="FlexErf"):
        contract.check(single)
