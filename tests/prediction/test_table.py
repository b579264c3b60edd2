"""Files of predictions, read back by csv, json, pyarrow; streamed; whole or absent."""

import csv
import json
import os

import numpy as np
import pytest

from keras_vit.prediction.table import ROW_GROUP, table

ROWS = [
    ("a.jpg", ("cat", "dog, small"), (0.7, 0.3)),
    ("b é/日.jpg", ('a "b"', "Größe"), (1.0, 1.2345679e-10)),
    ("line\nbreak.jpg", ("dog, small", "cat"), (0.1, 0.1)),
]


def read(path):
    """[(path, labels, scores)] of a file."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["path", "label_1", "score_1", "label_2", "score_2"]
        return [(row[0], row[1::2], [float(score) for score in row[2::2]]) for row in rows[1:]]
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(path).to_pylist()
    assert all(list(row) == ["path", "labels", "scores"] for row in rows)
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".CSV"])
def test_what_was_written_is_read(tmp_path, suffix):
    path = tmp_path / f"deep/found{suffix}"
    with table(path, 2) as write:
        for row in ROWS:
            write(*row)
        assert not path.exists()
    path = path.rename(path.with_suffix(suffix.lower()))
    for (name, labels, scores), (image, given, values) in zip(read(path), ROWS, strict=True):
        assert (name, tuple(labels)) == (image, given)
        np.testing.assert_array_equal(np.float32(scores), np.float32(values))  # every digit of a float32


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_no_row_is_an_empty_table(tmp_path, suffix):
    with table(tmp_path / f"a{suffix}", 2):
        pass
    assert read(tmp_path / f"a{suffix}") == []


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_paths_that_are_not_utf8_are_written_readably(tmp_path, suffix):
    with table(tmp_path / f"a{suffix}", 2) as write:
        write(os.fsdecode(b"caf\xe9.jpg"), ("a", "b"), (1, 0))
    assert read(tmp_path / f"a{suffix}")[0][0] == "caf\\udce9.jpg"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_leaves_no_half_file_and_the_older_one(tmp_path, suffix, error):
    path = tmp_path / f"a{suffix}"
    path.write_text("older")
    with pytest.raises(error), table(path, 2) as write:
        write(*ROWS[0])
        raise error
    assert path.read_text() == "older" and [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_parquet_has_types_and_rows_are_written_in_groups(tmp_path):
    import pyarrow.parquet

    with table(tmp_path / "a.parquet", 2) as write:
        for number in range(ROW_GROUP + 5):
            write(f"{number}.jpg", ("a", "b"), (0.5, 0.5))
    file = pyarrow.parquet.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [ROW_GROUP, 5]
    kinds = {field.name: str(field.type) for field in file.schema_arrow}
    assert kinds["path"] == "string" and kinds["labels"].endswith("string>") and kinds["scores"].endswith("float>")


SEVERAL = [("a.jpg", ("cat", "dog"), (0.9, 0.7), (5.5, False)), ("b.jpg", (), (), (-0.25, True))]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_any_number_of_labels_and_what_is_unknown(tmp_path, suffix):
    path = tmp_path / f"found{suffix}"
    with table(path, None, known=True) as write:
        for row in SEVERAL:
            write(*row)
    names = ["path", "labels", "scores", "known_score", "unknown"]
    if suffix == ".csv":
        text = "a.jpg,cat|dog,0.9|0.7,5.5,false\nb.jpg,,,-0.25,true\n"
        assert path.read_text() == f"{','.join(names)}\n{text}"
        return
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(path).to_pylist()
    for row, (image, labels, scores, known) in zip(rows, SEVERAL, strict=True):
        assert list(row) == names
        assert (row["path"], tuple(row["labels"]), row["known_score"], row["unknown"]) == (image, labels, *known)
        np.testing.assert_array_equal(np.float32(row["scores"]), np.float32(scores))


def test_what_is_unknown_beside_the_best_labels(tmp_path):
    with table(tmp_path / "found.csv", 1, known=True) as write:
        write("a.jpg", ("cat",), (0.9,), (5.5, False))
    text = "path,label_1,score_1,known_score,unknown\na.jpg,cat,0.9,5.5,false\n"
    assert (tmp_path / "found.csv").read_text() == text
