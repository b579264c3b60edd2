"""Fixtures of the tests of many images: a predictor of numbers, and every way of writing its answers."""

import pytest

from tests.prediction.of_numbers import WAYS, numbers


@pytest.fixture
def predictor(tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    return numbers(tmp_path / "weights")


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0].__name__}{way[1]}")
def way(request, monkeypatch):
    for module in ("table", "embeddings_file", "output_file"):  # rows that a .parquet holds together
        monkeypatch.setattr(f"keras_vit.prediction.{module}.ROW_GROUP", 5)
    return request.param
