import pytest

from keras_vit.training import data, logs, model, plan
from tests.training import toy


@pytest.fixture
def parts(tmp_path):
    recipe = toy.recipe(data_dir=str(toy.write_folder(tmp_path / "d")))
    return recipe, data.load(recipe), model.spec_of(recipe)


def test_the_batch_is_divided_among_the_devices():
    assert plan.choose_batch_size(toy.recipe(batch_size=8), 100, 2) == 8
    assert plan.choose_batch_size(toy.recipe(batch_size=8), 7, 2) == 6
    with pytest.raises(ValueError, match="batch_size=9, 2 devices"):
        plan.choose_batch_size(toy.recipe(batch_size=9), 100, 2)
    with pytest.raises(ValueError, match="1 training pictures are too few"):
        plan.choose_batch_size(toy.recipe(batch_size=8), 1, 2)


def test_the_strategy_takes_every_device():
    assert plan.make_strategy().num_replicas_in_sync == 2


def test_a_new_or_empty_folder_is_taken_and_the_same_run_continued(tmp_path, parts):
    settings, folder = plan.settings_of(*parts), tmp_path / "run"
    assert plan.check_folder(folder, settings) is False
    folder.mkdir()
    assert plan.check_folder(folder, settings) is False
    logs.write_settings(folder, settings)
    assert plan.check_folder(folder, settings) is True


def test_another_configuration_is_named(tmp_path, parts):
    recipe, data_set, spec = parts
    logs.write_settings(tmp_path, plan.settings_of(recipe, data_set, spec))
    other = recipe.replace(epochs=9, cache_megabytes=1)
    with pytest.raises(ValueError, match="another configuration:\n  epochs: 2 in the folder, 9 now\nGive"):
        plan.check_folder(tmp_path, plan.settings_of(other, data_set, spec))


def test_a_data_set_that_shrank_is_noticed(tmp_path, parts):
    recipe, data_set, spec = parts
    folder = tmp_path / "run"
    folder.mkdir()
    logs.write_settings(folder, plan.settings_of(recipe, data_set, spec))
    (tmp_path / "d" / "red" / "00.png").unlink()
    with pytest.raises(ValueError, match="pictures: .*\n.*data_sha256"):
        plan.check_folder(folder, plan.settings_of(recipe, data.load(recipe), spec))


def test_a_data_set_may_move(tmp_path, parts):
    recipe, data_set, spec = parts
    settings = plan.settings_of(recipe, data_set, spec)
    moved = recipe.replace(data_dir=str((tmp_path / "d").rename(tmp_path / "d2")))
    again = plan.settings_of(moved, data.load(moved), spec)
    assert again["data_sha256"] == settings["data_sha256"]


def test_a_foreign_folder_is_left_alone(tmp_path, parts):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="not empty, and not a run folder"):
        plan.check_folder(tmp_path, plan.settings_of(*parts))
