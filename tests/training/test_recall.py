import pytest
from PIL import Image

from keras_vit.training import plan
from keras_vit.training.datasets.load import load_dataset
from keras_vit.training.recall import training_split
from keras_vit.training.recipe import Recipe
from keras_vit.training.run import logs


@pytest.fixture
def run(tmp_path):
    """A run's settings, and the folder of its images."""
    for name in "ab":
        for number in range(10):
            path = tmp_path / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    recipe = Recipe(model="ViTTi16", dataset="folder", data_dir=str(tmp_path / "photos"), seed=3)
    data_set = load_dataset(recipe)
    settings = recipe.settings() | {"data_sha256": plan.fingerprint(data_set, recipe.data_dir)}
    (tmp_path / "run").mkdir()
    logs.write_settings(tmp_path / "run", settings)
    return tmp_path / "run", tmp_path / "photos", data_set


def test_the_training_split_is_loaded_without_test_and_validation_images(run):
    folder, _, data_set = run
    split = training_split(folder)
    assert split.names == data_set.train.names
    assert not set(split.names) & {*data_set.test.names, *data_set.validation.names}


def test_changed_and_missing_images_are_errors(run):
    folder, photos, _ = run
    (photos / "a" / "0.png").rename(photos / "a" / "other.png")
    with pytest.raises(ValueError, match=r"trained on \(folder, .*photos\) have changed since"):
        training_split(folder)
    photos.rename(photos.with_name("moved"))
    with pytest.raises(ValueError, match=r"trained on \(folder, .*photos\) are not there"):
        training_split(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no args.yaml"):
        training_split(tmp_path)
