import pytest

from examples.small_runs import train_small
from tests.examples.toys import SETTINGS, VIT


@pytest.mark.slow
def test_results_of_a_training_and_of_the_same_run_again(tmp_path, few_digits):
    facts = train_small(VIT, tmp_path / "run", **SETTINGS)
    assert (facts["epochs"], facts["best_epoch"]) == (1, 1)
    assert facts["parameters"] == VIT(weights=None, input_shape=(16, 16, 3), classes=10).count_params()
    assert 0 <= facts["top1"] <= 100 and 0 <= facts["val_top1"] <= 100 and facts["seconds"] > 0
    assert train_small(VIT, tmp_path / "run", **SETTINGS) == facts
    with pytest.raises(ValueError, match="another configuration"):
        train_small(VIT, tmp_path / "run", **SETTINGS | {"lr": 0.5})
