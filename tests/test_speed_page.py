"""docs/speed.md has the tables of results/speed."""

import importlib

import pytest

import keras_vit
from benchmarks import page


def test_page_is_current():
    assert page.PAGE.read_text() == page.filled(page.PAGE.read_text()), "run: python -m benchmarks.page --write"


def test_ratios_are_to_the_fastest_of_timm():
    rows = [
        {"model": "SwinT", "against": "timm eager", "ratio": 0.5},
        {"model": "SwinT", "against": "timm compiled", "ratio": 0.8},
        {"model": "SwinT", "against": "ONNX Runtime", "ratio": 1.2},
    ]
    assert page.against_best(rows, "model") == {("SwinT",): 0.8}


def test_geometric_mean():
    assert abs(page.geometric_mean([0.5, 2.0]) - 1) < 1e-12


def test_more_images_a_second_are_less_time_for_each(monkeypatch):
    rows = {"input_pipeline": [{"ratio": 2.0}, {"ratio": "not measured"}]}
    monkeypatch.setattr(page, "rows_of", lambda name: rows.get(name, []))
    line = next(line for line in page.targets().splitlines() if "input pipeline" in line)
    assert "0.50 to 0.50 | 1 of 1" in line


@pytest.mark.parametrize("name", ["any_size", "growth", "inference_form", "memory", "peers"])
def test_the_models_of_a_benchmark_exist(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert {*module.MODELS, *getattr(module, "DEMANDING", ())} <= set(keras_vit.list_models())
