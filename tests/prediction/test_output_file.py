"""What would fail after the work is done is said before."""

import sys

import pytest

from keras_vit.prediction import output_file

SUFFIXES = (".csv", ".jsonl", ".parquet")


@pytest.mark.parametrize("name", ["found.txt", "found", "found.csv.gz", "found.json", ".csv"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"^Tables are.*\.csv, \.jsonl or \.parquet. Received"):
        output_file.check(tmp_path / name, SUFFIXES, "Tables")


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(IsADirectoryError, match="a.csv"):
        output_file.check(tmp_path / "a.csv", SUFFIXES, "Tables")


def test_parquet_without_pyarrow_says_what_does_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="needs pyarrow, unlike .csv and .jsonl") as caught:
        output_file.check("a.parquet", SUFFIXES, "Tables")
    assert caught.value.name == "pyarrow"
    output_file.check("a.CSV", SUFFIXES, "Tables")
