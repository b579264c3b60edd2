import numpy as np
import pytest

from keras_vit.training.datasets import folders
from tests.training.toy import write_folder


def test_a_folder_without_splits_is_divided_80_10_10_and_stratified(tmp_path):
    data_set = folders.load(write_folder(tmp_path / "d", per_class=20))
    assert data_set.classes == ("blue", "green", "red")
    assert [len(split) for split in data_set.splits().values()] == [48, 6, 6]
    assert [list(np.bincount(split.labels)) for split in data_set.splits().values()] == [[16] * 3, [2] * 3, [2] * 3]
    assert len({name for split in data_set.splits().values() for name in split.names}) == 60
    assert not data_set.test_is_validation


def test_the_seed_determines_the_division(tmp_path):
    folder = write_folder(tmp_path / "d", per_class=20)
    first, again, other = (folders.load(folder, seed).test.names for seed in (0, 0, 1))
    assert first == again != other


def test_labels_are_those_of_the_folders(tmp_path):
    data_set = folders.load(write_folder(tmp_path / "d"))
    for split in data_set.splits().values():
        for name, label in zip(split.names, split.labels):
            assert f"/{data_set.classes[label]}/" in name


def test_existing_splits_are_taken_as_they_are(tmp_path):
    write_folder(tmp_path / "train", 5), write_folder(tmp_path / "val", 2)
    data_set = folders.load(tmp_path)
    assert [len(split) for split in data_set.splits().values()] == [15, 6, 6]
    assert data_set.test_is_validation and data_set.test is data_set.validation
    write_folder(tmp_path / "test", 1)
    data_set = folders.load(tmp_path)
    assert [len(split) for split in data_set.splits().values()] == [15, 6, 3]
    assert not data_set.test_is_validation


def test_without_val_a_tenth_of_train_is_the_validation_split(tmp_path):
    write_folder(tmp_path / "train", 20), write_folder(tmp_path / "test", 2)
    assert [len(split) for split in folders.load(tmp_path).splits().values()] == [54, 6, 6]


def test_hidden_files_and_files_of_other_formats_are_ignored(tmp_path):
    folder = write_folder(tmp_path / "d", 10)
    (folder / "red" / "notes.txt").write_text("x")
    (folder / "red" / ".1.png").write_text("x")
    (folder / ".cache").mkdir()
    assert sum(len(split) for split in folders.load(folder).splits().values()) == 30


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="data_dir is not a folder.*missing"):
        folders.load(tmp_path / "missing")


@pytest.mark.parametrize("classes", [(), ("red",)])
def test_fewer_than_two_classes_are_an_error(tmp_path, classes):
    (tmp_path / "d").mkdir()
    write_folder(tmp_path / "d", classes=classes)
    with pytest.raises(ValueError, match=f"two class folders or more.* has {len(classes)}"):
        folders.load(tmp_path / "d")


def test_an_empty_class_is_an_error(tmp_path):
    folder = write_folder(tmp_path / "d")
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no image"):
        folders.load(folder)


def test_classes_that_differ_between_splits_are_an_error(tmp_path):
    write_folder(tmp_path / "train"), write_folder(tmp_path / "val", classes=("red", "green"))
    with pytest.raises(ValueError, match=r"Only in train: \['blue'\]; only in val: none"):
        folders.load(tmp_path)


def test_val_without_train_is_an_error(tmp_path):
    write_folder(tmp_path / "val")
    with pytest.raises(ValueError, match="no train/"):
        folders.load(tmp_path)


def test_too_few_images_to_divide_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="2 images are too few"):
        folders.load(write_folder(tmp_path / "d", 1, ("red", "blue")))


def test_an_error_names_the_option_for_manifests_and_shards(tmp_path):
    (tmp_path / "m.csv").write_text("path,label")
    with pytest.raises(ValueError, match='a manifest takes dataset="csv"'):
        folders.load(tmp_path / "m.csv")
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(ValueError, match='It holds shards, which take dataset="records"'):
        folders.load(tmp_path)
