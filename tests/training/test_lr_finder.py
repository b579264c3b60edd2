import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

from keras_vit.training import lr_finder, trainer
from keras_vit.training.run import figures
from tests.training import toy


def test_the_rate_rises_by_the_same_factor_at_every_step():
    schedule = lr_finder.Exponential(1e-4, 1.0, 5)
    np.testing.assert_allclose([float(schedule(step)) for step in range(5)], [1e-4, 1e-3, 1e-2, 1e-1, 1], rtol=1e-5)
    assert lr_finder.Exponential.from_config(schedule.get_config()).get_config() == schedule.get_config()


def test_smoothed_losses_are_weighted_means_of_the_losses_so_far():
    losses = [3.0, 1.0, 2.0]
    weights = [[1], [0.9, 1], [0.81, 0.9, 1]]
    expected = [np.average(losses[: len(w)], weights=w) for w in weights]
    np.testing.assert_allclose(lr_finder.smoothed(losses), expected, rtol=1e-12)


def test_a_tenth_of_the_rate_of_the_lowest_loss_is_suggested():
    curve = lr_finder.LRCurve(np.array([1e-3, 1e-2, 1e-1]), np.zeros(3), np.array([2.0, 1.0, 5.0]))
    assert curve.suggestion == pytest.approx(1e-3)


def test_the_curve_is_drawn_also_where_the_loss_never_falls(tmp_path):
    for losses in ([2.0, 1.0, 9.0], [1.0, 1.0, 1.0]):
        curve = lr_finder.LRCurve(np.array([1e-3, 1e-2, 1e-1]), np.array(losses), np.array(losses))
        assert figures.save_rates(tmp_path / "a.png", curve, "title").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("changes", [{"steps": 9}, {"lowest": 0.0}, {"lowest": 1.0, "highest": 0.5}])
def test_ranges_that_are_none_are_refused(tmp_path, changes):
    with pytest.raises(ValueError, match="10 steps or more, and 0 < lowest < highest. Received"):
        lr_finder.find_lr(toy.recipe(), tmp_path / "x", **changes)
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_the_finder_leaves_its_files_and_nothing_else(tmp_path):
    data = str(toy.write_folder(tmp_path / "data"))
    recipe = toy.recipe(data_dir=data, deterministic=True, img_size=None, img_size_schedule="4@0,8@0.5")
    console = Console(file=io.StringIO(), width=200, soft_wrap=True)
    curve = lr_finder.find_lr(recipe, tmp_path / "found", 60, 1e-5, 1e3, console)
    names = {path.name for path in (tmp_path / "found").iterdir() if not path.name.startswith(".")}
    assert names == {"lr_finder.png", "lr_finder.csv"}
    with (tmp_path / "found" / "lr_finder.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(curve.rates) < 60  # it diverged before
    assert float(rows[0]["lr"]) == pytest.approx(1e-5) and curve.smoothed[-1] > 2 * curve.smoothed.min()
    assert f"Suggestion: lr {curve.suggestion:.2g}" in console.file.getvalue()
    for folder in ("found", "fresh"):  # a run behind it is the run that it would have been
        trainer.train(recipe, tmp_path / folder, console)
    toy.assert_same_run(tmp_path / "found", tmp_path / "fresh")
    kept = [json.loads((tmp_path / folder / "run.json").read_text())["held_out"] for folder in ("found", "fresh")]
    assert kept[0] == kept[1]


@pytest.mark.slow
def test_a_loss_that_is_never_finite_is_an_error(tmp_path):
    data = str(toy.write_folder(tmp_path / "data"))
    with pytest.raises(ValueError, match="not finite at the lowest rates"):
        lr_finder.find_lr(toy.recipe(data_dir=data, opt="sgd"), tmp_path / "x", 10, 1e36, 1e38, Console(quiet=True))
