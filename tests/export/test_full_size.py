"""results/edge.csv, which `make test-edge` writes in an hour, has all models, within their limits."""

import csv
from pathlib import Path

import pytest

from keras_vit.export.edge.quantizations import QUANTIZATIONS
from tests.export import full_size

TABLE = Path(__file__).parents[2] / "results" / "edge.csv"
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
GPU_ROWS = list(csv.DictReader(TABLE.with_name("edge_gpu.csv").read_text(encoding="utf-8").splitlines()))


def test_every_model_of_up_to_100_million_parameters_is_listed():
    assert len(full_size.names()) == 68
    assert [row["model"] for row in ROWS if row["quant"] == "none"] == full_size.names()


@pytest.mark.parametrize("name", full_size.smallest())
def test_the_smallest_of_each_family_is_listed_in_every_quantization(name):
    assert [row["quant"] for row in ROWS if row["model"] == name] == list(QUANTIZATIONS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['quant']}")
def test_figures_are_within_their_limits(row):
    assert row["within_limits"] == "True" and int(row["max_rank"]) <= 4
    limits = {
        "none": float(row["largest_difference"]) <= 1e-4,
        "float16": float(row["relative_difference"]) <= 1e-2,
    }
    assert limits.get(row["quant"], float(row["cosine"]) >= 0.999)


@pytest.mark.parametrize("row", GPU_ROWS, ids=lambda row: row["model"])
def test_gpus_take_the_rewritten_files(row):
    """They compute what the files did, and nothing leaves the range of float16."""
    assert int(row["refused"]) > 0 == int(row["refused_for_gpus"]) and float(row["float32"]) <= 1e-5
    assert not row["overflow"] and float(row["float16"]) <= 1e-2 and float(row["cosine"]) >= 0.999


def test_a_model_of_each_family_was_rewritten_for_gpus():
    assert [row["model"] for row in GPU_ROWS] == list(full_size.OF_GPUS)
