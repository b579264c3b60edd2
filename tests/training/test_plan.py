import pytest

from keras_vit.training import plan
from keras_vit.training.datasets import manifest, shards
from keras_vit.training.datasets.load import load_dataset
from keras_vit.training.run import logs
from keras_vit.training.step import model
from tests.training import toy


@pytest.fixture
def given(tmp_path):
    recipe = toy.recipe(data_dir=str(toy.write_folder(tmp_path / "d")))
    return recipe, load_dataset(recipe), model.spec_of(recipe)


def test_the_batch_is_divided_among_the_devices():
    assert plan.choose_batch_size(toy.recipe(batch_size=8), 100, 2) == 8
    assert plan.choose_batch_size(toy.recipe(batch_size=8), 7, 2) == 6
    with pytest.raises(ValueError, match="a multiple of 2. Received: batch_size=9, 2 devices"):
        plan.choose_batch_size(toy.recipe(batch_size=9), 100, 2)
    with pytest.raises(ValueError, match="a multiple of 6. Received: batch_size=8, 2 devices, grad_accum_steps=3"):
        plan.choose_batch_size(toy.recipe(batch_size=8, grad_accum_steps=3), 100, 2)
    with pytest.raises(ValueError, match="1 training images are too few"):
        plan.choose_batch_size(toy.recipe(batch_size=8), 1, 2)


def test_a_new_or_empty_folder_is_accepted_and_the_same_run_resumed(tmp_path, given):
    settings, folder = plan.settings_of(*given), tmp_path / "run"
    assert plan.check_folder(folder, settings) is False
    folder.mkdir()
    assert plan.check_folder(folder, settings) is False
    logs.write_settings(folder, settings)
    assert plan.check_folder(folder, settings) is True


def test_the_settings_that_differ_are_named(tmp_path, given):
    recipe, data_set, spec = given
    logs.write_settings(tmp_path, plan.settings_of(recipe, data_set, spec))
    other = recipe.replace(epochs=9, cache_megabytes=1)
    with pytest.raises(ValueError, match="another configuration:\n  epochs: 2 in the folder, 9 now\nGive"):
        plan.check_folder(tmp_path, plan.settings_of(other, data_set, spec))


def test_a_run_whose_classes_are_written_in_another_form_of_unicode_is_resumed(tmp_path, given):
    settings = plan.settings_of(*given)
    logs.write_settings(tmp_path, settings | {"classes": ["Cafe\u0301", "Tea"]})
    assert plan.check_folder(tmp_path, settings | {"classes": ["Caf\xe9", "Tea"]}) is True
    with pytest.raises(ValueError, match="classes: "):
        plan.check_folder(tmp_path, settings | {"classes": ["Tea", "Caf\xe9"]})


def test_a_data_set_that_shrank_is_noticed(tmp_path, given):
    recipe, data_set, spec = given
    folder = tmp_path / "run"
    folder.mkdir()
    logs.write_settings(folder, plan.settings_of(recipe, data_set, spec))
    (tmp_path / "d" / "red" / "00.png").unlink()
    with pytest.raises(ValueError, match="pictures: .*\n.*data_sha256"):
        plan.check_folder(folder, plan.settings_of(recipe, load_dataset(recipe), spec))


def test_a_data_set_may_move(tmp_path, given):
    recipe, data_set, spec = given
    settings = plan.settings_of(recipe, data_set, spec)
    moved = recipe.replace(data_dir=str((tmp_path / "d").rename(tmp_path / "d2")))
    again = plan.settings_of(moved, load_dataset(moved), spec)
    assert again["data_sha256"] == settings["data_sha256"]


def test_a_folder_with_other_files_is_refused(tmp_path, given):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="not empty, and not a run folder"):
        plan.check_folder(tmp_path, plan.settings_of(*given))


def test_test_images_in_shards_are_not_listed_as_files(tmp_path, given):
    shards.write(given[1], tmp_path / "shards", 1)
    for split, listed in ((given[1].test, True), (shards.load(tmp_path / "shards").test, False)):
        folder = tmp_path / str(listed)
        plan.write_test_images(folder, split)
        assert (folder / "held_out.csv").exists() == listed


@pytest.mark.parametrize("source", ["csv", "records"])
def test_a_source_that_shrank_is_noticed(tmp_path, given, source):
    def settings(name, files):
        lines = ["path,label", *(f"{file},{file.parent.name}" for file in files)]
        data_dir = tmp_path / f"{name}.csv"
        data_dir.write_text("\n".join(lines))
        if source == "records":
            shards.write(manifest.load(data_dir), tmp_path / name, 2, root=tmp_path)
            data_dir = tmp_path / name
        changed = given[0].replace(dataset=source, data_dir=str(data_dir))
        return plan.settings_of(changed, load_dataset(changed), given[2])

    files = sorted((tmp_path / "d").rglob("*.png"))
    logs.write_settings(tmp_path / "run", settings("one", files))
    assert plan.check_folder(tmp_path / "run", settings("two", files) | {"dataset": source})
    with pytest.raises(ValueError, match="pictures: .*\n.*data_sha256"):
        plan.check_folder(tmp_path / "run", settings("three", files[:-1]))
