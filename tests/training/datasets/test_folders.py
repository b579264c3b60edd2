import os

import numpy as np
import pytest

from keras_vit.training.datasets import folders
from keras_vit.training.datasets.splits import fingerprint
from tests.images.trees import classes, write_tree
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


def test_classes_of_another_split_that_train_lacks_are_an_error_that_counts_them(tmp_path):
    write_folder(tmp_path / "train", 2, ("red", "green")), write_folder(tmp_path / "val", 1)
    with pytest.raises(ValueError, match="1 of 3 classes have no image in train.*: 'blue'. They have 1 images in val"):
        folders.load(tmp_path)


def test_classes_that_validation_and_test_lack_are_said(tmp_path):
    write_folder(tmp_path / "train", 2), write_folder(tmp_path / "val", 1, ("red", "green"))
    (tmp_path / "val" / "blue").mkdir()
    data_set = folders.load(tmp_path)
    assert data_set.notes["few images"] == "validation has none of 1 of 3 classes: blue"
    assert data_set.classes == ("blue", "green", "red") and list(data_set.validation.labels) == [1, 2]
    write_folder(tmp_path / "test", 1, ("red",))
    assert folders.load(tmp_path).notes["few images"].endswith("; test has none of 2 of 3 classes: blue, green")


@pytest.mark.parametrize(
    "names, counts, told",
    [
        (("training_set", "test_set"), [54, 6, 6], "training_set/ is train, test_set/ is test, a tenth of train is "
         "validation"),
        (("Training", "Val"), [60, 6, 6], "Training/ is train, Val/ is validation, validation is test too"),
        (("train", "valid", "test"), [60, 6, 6], "train/ is train, valid/ is validation, test/ is test"),
        (("train",), [54, 6, 6], "train/ is train, a tenth of train is validation, validation is test too"),
    ],
)  # fmt: skip
def test_what_became_which_split_is_said(tmp_path, names, counts, told):
    for number, name in enumerate(names):
        write_folder(tmp_path / name, 2 if number else 20)
    data_set = folders.load(tmp_path)
    assert [len(split) for split in data_set.splits().values()] == counts and data_set.notes == {"splits": told}
    assert data_set.test_is_validation == ("test" not in told.replace("test too", ""))


def test_what_was_not_taken_is_said(tmp_path):
    folder = write_folder(tmp_path / "d", 10)
    for name in ("notes.txt", "more.TXT"):
        (folder / "red" / name).write_text("x")
    (folder / "stray.png").write_bytes((folder / "red" / "00.png").read_bytes())
    said = "3 files (2 x .txt is no image, 1 x an image outside the class folders)"
    assert folders.load(folder).notes == {"not taken": said}


def test_links_to_folders_inside_a_class_are_followed(tmp_path):
    folder = write_folder(tmp_path / "d", 6)
    write_folder(tmp_path / "more", 4, ("red",))
    (folder / "red" / "more").symlink_to(tmp_path / "more" / "red")
    data_set = folders.load(folder)
    assert sum(len(split) for split in data_set.splits().values()) == 22


def test_classes_of_both_forms_of_unicode_are_one_in_the_order_of_the_folders(tmp_path):
    nfc, nfd = "Caf\xe9", "Cafe\u0301"
    write_tree(tmp_path, *classes("train", (nfd, "Caff\xe8")), *classes("val", (nfc, "Caff\xe8"), 1))
    data_set = folders.load(tmp_path)
    assert data_set.classes == (nfc, "Caff\xe8") and list(data_set.validation.labels) == [1, 0]
    assert data_set.train.names[0] == str(tmp_path / "train" / nfd / "0.png")


def test_files_in_another_encoding_are_read_like_others(tmp_path):
    write_tree(tmp_path, *classes("train"), *classes("val"), "train/a/" + os.fsdecode(b"\xe9.png"))
    train = folders.load(tmp_path).train
    read = train.reader()
    assert os.fsencode(train.names[3]).endswith(b"train/a/\xe9.png")
    assert read(np.int64(3)).numpy() == train.read(3) == b"train/a/\xe9.png" and fingerprint(folders.load(tmp_path))


@pytest.mark.parametrize(
    "files, message",
    [
        (classes("archive/photos"), "has 1: \\['archive'\\]. Its data lie deeper: give .*/archive/photos."),
        ([*classes("archive/train"), *classes("archive/val"), "notes/x.txt"], "give .*/archive."),
        (classes("my_train_v2"), "give .*/my_train_v2."),
        (classes("train/images"), "Move the class folders of .*/train/images up into it"),
        ([*classes("train"), "val/a/", "val/b/"], "val/ holds no image. Put class folders with images in it"),
        ([*classes("val"), "train/1.png"], r"has val/ and no train/; train/ has 1 image without class folders"),
        (["a/1.png", "b/1.txt", "c/1.png"], r"b holds no image, but 1 file \(.txt is no image\). Put some in"),
    ],
)  # fmt: skip
def test_errors_say_where_the_images_are(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        folders.load(write_tree(tmp_path, *files))


@pytest.mark.parametrize("count", [3, 10, 25])
def test_one_image_per_class_is_an_error_that_counts_the_classes_without_training(tmp_path, count):
    names = [f"c{i:02d}" for i in range(count)]
    with pytest.raises(ValueError, match=rf"(\d) of {count} classes have no image in train.*'c00'"):
        folders.load(write_tree(tmp_path, *classes(".", names, 1)))


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
