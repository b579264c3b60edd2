"""The table of what was compared with the published code."""

import csv
import json
import pathlib

import numpy as np

from keras_vit.models import VARIANTS
from tests.golden.compare import RECORDS, Comparison, write_csv

TABLE = pathlib.Path(__file__).parents[2] / "results" / "parity.csv"


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def comparison(name, difference):
    return Comparison(name, "theirs", "32x64", False, "code 1.0", difference, 1e-5, 7, 7)


def test_new_rows_take_the_place_of_old_ones(tmp_path):
    table = tmp_path / "parity.csv"
    write_csv(table, [comparison("SwinT", 4e-6)])
    write_csv(table, [comparison("SwinT", 3e-6)])
    rows = rows_of(table)
    assert [row["variant"] for row in rows] == list(VARIANTS)
    compared = [row for row in rows if row["reference"]]
    assert [(row["variant"], row["largest_difference"]) for row in compared] == [("SwinT", "3.00e-06")]
    assert all(row["note"].startswith("not compared: ") for row in rows if not row["reference"])


def test_a_wrong_count_of_parameters_does_not_pass():
    assert comparison("SwinT", 1e-6).passed
    assert not comparison("SwinT", 2e-5).passed
    assert not Comparison("SwinT", "theirs", "32x64", False, "code 1.0", 0.0, 1e-5, 7, 8).passed


def test_every_public_name_is_in_the_table_and_every_row_passes():
    rows = rows_of(TABLE)
    assert {row["variant"] for row in rows} == set(VARIANTS)
    for row in rows:
        if row["note"].startswith("not compared"):
            assert row["largest_difference"] == ""
        else:
            assert float(row["largest_difference"]) <= float(row["tolerance"])
            assert row["parameters"] == row["reference_parameters"]


def test_every_record_is_in_the_table():
    recorded = [json.loads(str(np.load(path)["meta"])) for path in RECORDS.glob("*.npz")]
    names = [
        (meta.get("reference_name", meta["name"]), "x".join(map(str, meta["image_size"])), str(meta["resampled"]))
        for meta in recorded
    ]
    rows = [(row["reference_name"], row["image_size"], row["resampled"]) for row in rows_of(TABLE) if row["reference"]]
    assert sorted(rows) == sorted(names)
