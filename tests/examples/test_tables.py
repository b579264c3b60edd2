import pytest

from examples.tables import markdown, mean_and_range, read, write


@pytest.mark.parametrize(
    "values, cell",
    [
        (["98.00", 99.0, 98.5], "98.50 (98.00 - 99.00)"),
        ([97.5], "97.50"),
        ([97.5, "97.50"], "97.50"),
        (["1234", 1234], "1,234"),
        ([1000, 2001], "1,500 (1,000 - 2,001)"),
    ],
)
def test_cells_are_means_and_ranges(values, cell):
    assert mean_and_range(values) == cell


def test_a_line_per_arm_in_the_order_of_the_rows():
    row = {"images": "pairs", "loss": "bce", "seed": 0, "map": 93.25, "seconds": 40}
    rows = [row, row | {"images": "single", "map": 90.0}, row | {"seed": 3, "map": 93.23}]
    assert markdown(rows, ("images", "loss"), {"map": "mAP, %"}).splitlines() == [
        "| images | loss | seeds | mAP, % |",
        "|---|---|---|---:|",
        "| pairs | bce | 0, 3 | 93.24 (93.23 - 93.25) |",
        "| single | bce | 0 | 90.00 |",
    ]
    *_, line = markdown(rows, ("images",), {"map": "mAP, %", "seconds": "seconds"}).splitlines()
    assert line == "| single | 0 | 90.00 | 40 |"


def test_rows_are_written_and_read(tmp_path):
    rows = [{"arm": "one, two", "seed": "0"}, {"arm": "three", "seed": "1"}]
    write(rows, tmp_path / "rows.csv")
    assert read(tmp_path / "rows.csv") == rows
    assert read(tmp_path / "none.csv") == []
