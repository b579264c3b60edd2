import numpy as np
import pytest

from keras_vit.training import folders
from tests.training.toy import write_folder


def test_one_folder_is_divided_80_10_10_and_stratified(tmp_path):
    data_set = folders.load(write_folder(tmp_path / "d", per_class=20))
    assert data_set.classes == ("blue", "green", "red")
    assert [len(part) for part in data_set.parts().values()] == [48, 6, 6]
    assert [list(np.bincount(part.labels)) for part in data_set.parts().values()] == [
        [16] * 3,
        [2] * 3,
        [2] * 3,
    ]
    assert len({n for part in data_set.parts().values() for n in part.names}) == 60
    assert not data_set.held_out_is_val


def test_the_seed_divides(tmp_path):
    folder = write_folder(tmp_path / "d", per_class=20)
    first, again, other = (folders.load(folder, seed).held_out.names for seed in (0, 0, 1))
    assert first == again != other


def test_labels_are_those_of_the_folders(tmp_path):
    data_set = folders.load(write_folder(tmp_path / "d"))
    for part in data_set.parts().values():
        for name, label in zip(part.names, part.labels):
            assert f"/{data_set.classes[label]}/" in name


def test_parts_that_are_there_are_taken(tmp_path):
    write_folder(tmp_path / "train", 5), write_folder(tmp_path / "val", 2)
    data_set = folders.load(tmp_path)
    assert [len(part) for part in data_set.parts().values()] == [15, 6, 6]
    assert data_set.held_out_is_val and data_set.held_out is data_set.val
    write_folder(tmp_path / "test", 1)
    data_set = folders.load(tmp_path)
    assert [len(part) for part in data_set.parts().values()] == [15, 6, 3]
    assert not data_set.held_out_is_val


def test_without_val_a_tenth_of_train_is_taken(tmp_path):
    write_folder(tmp_path / "train", 20), write_folder(tmp_path / "test", 2)
    assert [len(p) for p in folders.load(tmp_path).parts().values()] == [54, 6, 6]


def test_hidden_files_and_other_files_are_passed_over(tmp_path):
    folder = write_folder(tmp_path / "d", 10)
    (folder / "red" / "notes.txt").write_text("x")
    (folder / "red" / ".1.png").write_text("x")
    (folder / ".cache").mkdir()
    assert sum(len(part) for part in folders.load(folder).parts().values()) == 30


def test_no_such_folder(tmp_path):
    with pytest.raises(ValueError, match="data_dir is not a folder.*missing"):
        folders.load(tmp_path / "missing")


@pytest.mark.parametrize("classes", [(), ("red",)])
def test_fewer_than_two_classes(tmp_path, classes):
    (tmp_path / "d").mkdir()
    write_folder(tmp_path / "d", classes=classes)
    with pytest.raises(ValueError, match=f"two class folders or more.* has {len(classes)}"):
        folders.load(tmp_path / "d")


def test_an_empty_class(tmp_path):
    folder = write_folder(tmp_path / "d")
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no picture"):
        folders.load(folder)


def test_classes_that_differ_between_parts(tmp_path):
    write_folder(tmp_path / "train"), write_folder(tmp_path / "val", classes=("red", "green"))
    with pytest.raises(ValueError, match=r"Only in train: \['blue'\]; only in val: none"):
        folders.load(tmp_path)


def test_val_without_train(tmp_path):
    write_folder(tmp_path / "val")
    with pytest.raises(ValueError, match="no train/"):
        folders.load(tmp_path)


def test_too_few_pictures_to_divide(tmp_path):
    with pytest.raises(ValueError, match="2 pictures are too few"):
        folders.load(write_folder(tmp_path / "d", 1, ("red", "blue")))


def test_other_sources_are_pointed_to(tmp_path):
    (tmp_path / "m.csv").write_text("path,label")
    with pytest.raises(ValueError, match='a manifest takes dataset="csv"'):
        folders.load(tmp_path / "m.csv")
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(ValueError, match='It holds shards, which take dataset="records"'):
        folders.load(tmp_path)
