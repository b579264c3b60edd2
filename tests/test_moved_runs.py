"""Runs that were moved: with their images beside them, alone, and without images that nobody can find any more."""

import shutil

import pytest

from keras_vit.cli.main import main
from keras_vit.sources.run_folder import Run
from keras_vit.training.run import kept_images
from tests.export import toys


@pytest.fixture
def place(tmp_path):
    """work/runs/a, a run whose test images lie in work/photos."""
    run = toys.write_run(tmp_path / "work/runs/a", toys.toy_model(), number=6)
    (run / "held_out").rename(tmp_path / "work/photos")
    images = [(tmp_path / "work/photos" / path.name, label) for path, label in Run.open(run).test_images()]
    Run.write_test_images(run, images)
    return tmp_path


def uses(run, other):
    """The commands that look at the test images of a run, by what each writes."""
    return {
        "validate": ["validate", str(run)],
        "export": ["export", str(run), "--output", str(other / "serving")],
        "convert": ["convert", str(run), "--output", str(other / "edge"), "--quant", "none"],
    }


@pytest.mark.parametrize(
    "verb", ["validate", *(pytest.param(verb, marks=pytest.mark.slow) for verb in ("export", "convert"))]
)
def test_a_run_that_moved_with_its_images_is_used_as_before(place, verb):
    moved = (place / "work").rename(place / "elsewhere") / "runs/a"
    assert main(uses(moved, place)[verb]) == 0


@pytest.mark.parametrize(
    ("verb", "lost"),
    [
        *(("validate", 1), ("validate", 6)),
        *(pytest.param(v, lost, marks=pytest.mark.slow) for v in ("export", "convert", "compare") for lost in (1, 6)),
    ],
)
def test_lost_images_are_counted_and_the_remedy_helps(place, verb, lost, capsys):
    run, photos = place / "work/runs/a", place / "work/photos"
    if verb == "compare":
        assert main(uses(run, place)["convert"]) == 0
    shutil.copytree(photos, place / "found")
    for path in sorted(photos.iterdir())[:lost]:
        path.unlink()
    command = uses(run, place).get(verb, ["compare", str(run), str(place / "edge")])
    assert main(command) == 1
    error = capsys.readouterr().err
    assert f"{run}: {lost} of its 6 test images are missing, {photos / '00.png'} the first" in error
    if verb == "validate":
        assert "--data-dir DIR" in error
    else:
        assert "--images DIR" in error and main([*command, "--images", str(place / "found")]) == 0


@pytest.mark.slow
def test_a_trained_run_that_moved_alone_has_its_own_images(tmp_path, capsys):
    from keras_vit.training import trainer
    from tests.training import toy

    recipe = toy.recipe(data_dir=str(toy.write_folder(tmp_path / "far/away/from/it/data")), epochs=1)
    trainer.train(recipe, tmp_path / "runs" / "a")
    (tmp_path / "far").rename(tmp_path / "gone")
    moved = shutil.move(tmp_path / "runs" / "a", tmp_path / "b")
    assert all(path.is_relative_to(moved / "held_out") for path, _ in Run.open(moved).require_test_images())
    assert main(["validate", str(moved)]) == 0
    assert main(["export", str(moved), "--output", str(tmp_path / "serving")]) == 0


@pytest.mark.slow  # test_kept_images has it without a training
def test_test_images_that_are_large_in_total_stay_where_they_are(tmp_path, monkeypatch):
    from keras_vit.training import trainer
    from tests.training import toy

    monkeypatch.setattr(kept_images, "LIMIT", 10)
    monkeypatch.setattr(trainer, "finish", lambda *given: None)
    recipe = toy.recipe(data_dir=str(toy.write_folder(tmp_path / "work/data")), epochs=1)
    trainer.train(recipe, tmp_path / "work/runs/a")
    assert not (tmp_path / "work/runs/a/held_out").exists()
    moved = (tmp_path / "work").rename(tmp_path / "elsewhere")
    images = Run.open(moved / "runs/a").require_test_images()
    assert all(path.is_relative_to(moved / "data") for path, _ in images)
