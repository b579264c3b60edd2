import pytest

from keras_vit.training.datasets import digits, folders, manifest, shards, tfds
from keras_vit.training.datasets.load import DATA_DIR, load_dataset
from keras_vit.training.datasets.splits import fingerprint
from tests.training.toy import recipe, write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "d", per_class=10)


def test_a_folder_is_divided_by_the_recipes_seed(folder):
    loaded = [fingerprint(load_dataset(recipe(dataset="folder", data_dir=str(folder), seed=s))) for s in (3, 4)]
    assert loaded == [fingerprint(folders.load(folder, s)) for s in (3, 4)] and len(set(loaded)) == 2


def test_a_manifest_is_divided_by_the_recipes_seed(tmp_path, folder):
    rows = [f"{path},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *rows]))
    loaded = load_dataset(recipe(dataset="csv", data_dir=str(tmp_path / "m.csv"), seed=3))
    assert fingerprint(loaded) == fingerprint(manifest.load(tmp_path / "m.csv", 3))


def test_records_are_a_folder_of_shards(tmp_path, folder):
    shards.write(folders.load(folder), tmp_path / "s", 2, root=folder)
    loaded = load_dataset(recipe(dataset="records", data_dir=str(tmp_path / "s")))
    assert fingerprint(loaded) == fingerprint(shards.load(tmp_path / "s"))


def test_digits_need_no_folder_and_ignore_the_seed():
    loaded = load_dataset(recipe(dataset="digits", data_dir=None, seed=3))
    assert fingerprint(loaded) == fingerprint(digits.load())


def test_tfds_gets_the_name_the_folder_and_the_splits(monkeypatch):
    monkeypatch.setattr(tfds, "load", lambda *arguments: arguments)
    chosen = recipe(dataset="tfds/imagenet_resized/32x32", data_dir="x", train_split="train[:90%]", val_split="test")
    chosen = chosen.replace(target_key="label")
    assert load_dataset(chosen) == ("imagenet_resized/32x32", "x", "train[:90%]", "test", "label")


@pytest.mark.parametrize("name", DATA_DIR)
def test_a_missing_data_dir_is_an_error_that_describes_it(name):
    with pytest.raises(ValueError, match=f"dataset='{name}' needs data_dir: {DATA_DIR[name]}"):
        load_dataset(recipe(dataset=name, data_dir=None))
