import pytest
from PIL import Image

from keras_vit.training import data, logs, plan
from keras_vit.training.recall import training_part
from keras_vit.training.recipe import Recipe


@pytest.fixture
def run(tmp_path):
    """A run's settings, and the folder of its pictures."""
    for name in "ab":
        for number in range(10):
            path = tmp_path / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    recipe = Recipe(model="ViTTi16", dataset="folder", data_dir=str(tmp_path / "photos"), seed=3)
    data_set = data.load(recipe)
    settings = recipe.settings() | {"data_sha256": plan.fingerprint(data_set, recipe.data_dir)}
    (tmp_path / "run").mkdir()
    logs.write_settings(tmp_path / "run", settings)
    return tmp_path / "run", tmp_path / "photos", data_set


def test_the_training_part_is_found_again_and_no_other(run):
    folder, _, data_set = run
    part = training_part(folder)
    assert part.names == data_set.train.names
    assert not set(part.names) & {*data_set.held_out.names, *data_set.val.names}


def test_changed_and_missing_pictures_are_told(run):
    folder, photos, _ = run
    (photos / "a" / "0.png").rename(photos / "a" / "other.png")
    with pytest.raises(ValueError, match=r"trained on \(folder, .*photos\) have changed since"):
        training_part(folder)
    photos.rename(photos.with_name("moved"))
    with pytest.raises(ValueError, match=r"trained on \(folder, .*photos\) are not there"):
        training_part(folder)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no args.yaml"):
        training_part(tmp_path)
