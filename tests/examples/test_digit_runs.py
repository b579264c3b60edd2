import pytest

from examples.digit_runs import mean_and_range, read, train_on_digits, write
from tests.examples.toys import SETTINGS, VIT


@pytest.mark.slow
def test_results_of_a_training_and_of_the_same_run_again(tmp_path, few_digits):
    facts = train_on_digits(VIT, tmp_path / "run", **SETTINGS)
    assert (facts["epochs"], facts["best_epoch"]) == (1, 1)
    assert facts["parameters"] == VIT(weights=None, input_shape=(16, 16, 3), classes=10).count_params()
    assert 0 <= facts["top1"] <= 100 and 0 <= facts["val_top1"] <= 100 and facts["seconds"] > 0
    assert train_on_digits(VIT, tmp_path / "run", **SETTINGS) == facts
    with pytest.raises(ValueError, match="another configuration"):
        train_on_digits(VIT, tmp_path / "run", **SETTINGS | {"lr": 0.5})


def test_mean_and_range():
    assert mean_and_range(["98.00", 99.0, 98.5]) == ("98.50", "98.00 - 99.00")
    assert mean_and_range([97.5]) == ("97.50", "")


def test_tables_are_written_and_read(tmp_path):
    rows = [{"arm": "one, two", "seed": "0"}, {"arm": "three", "seed": "1"}]
    write(rows, tmp_path / "rows.csv")
    assert read(tmp_path / "rows.csv") == rows
    assert read(tmp_path / "none.csv") == []
