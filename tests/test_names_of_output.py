"""What is written into folders with special characters: it works, or is refused before any work."""

import shutil
import zipfile

import pytest

import keras_vit
from keras_vit.cli.main import main
from tests import toy_artifacts as toy
from tests.test_made_before import MADE
from tests.training import toy as training

SPECIAL = ["a[1]", "a*b", "a?b", "a\\b", "a{b,c}"]
ONE = ["a[1]", "a*b", "a\\b"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with zipfile.ZipFile(MADE) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("name", SPECIAL)
def test_export_refuses_what_neither_tensorflow_nor_tf_serving_finds(tmp_path, name, capsys):
    output = tmp_path / name / "serving"
    status = main(["export", "nowhere/run", "--output", str(output)])
    error = capsys.readouterr().err
    assert status == 1 and not output.parent.exists()
    assert ("for a pattern of names" in error) == (name != "a{b,c}")  # else the run that does not exist is named


@pytest.mark.parametrize("name", SPECIAL[:4])
def test_a_saved_model_in_such_a_folder_is_refused_with_the_remedy(tmp_path, name, capsys):
    toy.write_saved_model(tmp_path / "toy" / "1")
    moved = shutil.move(tmp_path / "toy", tmp_path / name)
    for command in (["predict", str(moved), "image.png"], ["serve", str(moved)]):
        assert main(command) == 1
        assert "rename the folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ONE)
@pytest.mark.slow  # refusals of such folders are above
def test_runs_and_edge_files_may_lie_anywhere(made, tmp_path, name, capsys):
    run = shutil.copytree(made / "run", tmp_path / name / "run")
    edge = tmp_path / name / "edge"
    assert main(["convert", str(run), "--output", str(edge), "--quant", "none", "--max-images", "4"]) == 0
    image = next((run / "held_out").rglob("*.png"))
    for model in (run, edge):
        assert main(["predict", str(model), str(image), "--output", str(tmp_path / name / "found.csv")]) == 0
    assert main(["compare", str(run), str(edge), "--max-images", "4"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE)
def test_training_and_shards_may_lie_anywhere(tmp_path, name):
    from keras_vit.training import trainer

    data = training.write_folder(tmp_path / name / "data")
    assert main(["prepare-data", str(data), "--output", str(tmp_path / name / "shards")]) == 0
    for source, kind in ((data, "folder"), (tmp_path / name / "shards", "records")):
        run = tmp_path / name / kind
        recipe = training.recipe(data_dir=str(source), dataset=kind, epochs=1)
        trainer.train(recipe, run)
        assert keras_vit.load_run(run).load_model() and list((run / "tensorboard").iterdir())
        assert trainer.train(recipe, run)["n_images"] > 0  # finished, and found again
