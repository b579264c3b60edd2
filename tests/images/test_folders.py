"""Which folders are splits, by the names that Keras, torchvision, Kaggle and Roboflow use; where nothing is guessed."""

import os
from collections import Counter

import pytest

from keras_vit.images.folders import OUTSIDE, deeper, files_in_words, find_classes, find_split
from tests.images.trees import classes, write_tree


def found_in(root):
    """{split: (its folder, {class: number of images})} of a folder."""
    found = find_classes(root)
    return {
        name: (
            os.path.relpath(part.folder, root),
            {label: len(listing.images) for label, listing in part.classes.items()},
        )
        for name, part in found.splits.items()
    }


PAIRS_AND_TRIPLES = [  # folders of train, validation and test as they are called
    ("train", "val", None),  # torchvision's ImageNet, Imagenette
    ("train", "val", "test"),  # the convention
    ("train", "valid", "test"),  # Roboflow; torchvision's Country211 and RenderedSST2; fastai
    ("train", "validation", None),  # Keras' cats_and_dogs_filtered
    ("train", "validation", "test"),  # Keras' guides
    ("training", "validation", None),
    ("training", "validation", "testing"),
    ("Train", None, "Test"),  # Kaggle
    ("Training", None, "Testing"),  # Kaggle's brain tumours
    ("Training", None, "Test"),  # Fruits-360
    ("TRAIN", None, "TEST"),  # Kaggle's blood cells
    ("Train", "Val", None),
    ("Train", "Validation", "Test"),
    ("train", "Val", "Test"),
    ("train", "valid", None),  # Kaggle's plant diseases
    ("train", "dev", None),
    ("train", "dev", "test"),
    ("train", "eval", None),
    ("train", "evaluation", "holdout"),
    ("training_set", None, "test_set"),  # Kaggle's cats and dogs
    ("training_set", "validation_set", "test_set"),
    ("train_set", "val_set", "test_set"),
    ("training-set", None, "test-set"),
    ("Training Set", None, "Test Set"),
    ("TrainSet", "ValSet", "TestSet"),
    ("trainset", None, "testset"),
    ("train_data", "valid_data", "test_data"),
    ("traindata", None, "testdata"),
    ("train_images", "val_images", "test_images"),
    ("train", None, "held_out"),
    ("train", None, None),
    ("trainval", None, "test"),  # Pascal VOC
]


@pytest.mark.parametrize("names", PAIRS_AND_TRIPLES, ids=lambda names: "+".join(filter(None, names)))
@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
def test_splits_are_known_by_their_usual_names(tmp_path, names, nested):
    """Also where each wraps one of the same name, as in training_set/training_set/cat, which Kaggle's archives hold."""
    given = {split: name for split, name in zip(("train", "val", "test"), names) if name}
    paths = {split: f"{name}/{name}" if nested else name for split, name in given.items()}
    for number, path in enumerate(paths.values(), 1):
        write_tree(tmp_path, *classes(path, "ab", number))
    expected = {split: (path, {"a": n, "b": n}) for n, (split, path) in enumerate(paths.items(), 1)}
    assert found_in(tmp_path) == expected
    in_words = {"train": "train", "val": "validation", "test": "test"}
    told = ", ".join(f"{path}/ is {in_words[split]}" for split, path in paths.items())
    assert find_classes(tmp_path).notes == {"splits": told}


@pytest.mark.parametrize(
    "names", [("bus", "car", "train"), ("bus", "test", "car"), ("Train", "bus"), ("val", "a", "b")]
)
def test_a_folder_of_images_beside_others_is_a_class_whatever_its_name(tmp_path, names):
    write_tree(tmp_path, *classes(".", names, 2))
    assert found_in(tmp_path) == {"all": (".", dict.fromkeys(sorted(names), 2))}
    assert find_classes(tmp_path).notes == {}


def test_a_class_called_train_inside_of_splits(tmp_path):
    vehicles = ("bus", "train")
    write_tree(tmp_path, *classes("train", vehicles), *classes("test", vehicles, 1))
    assert found_in(tmp_path) == {
        "train": ("train", {"bus": 3, "train": 3}),
        "test": ("test", {"bus": 1, "train": 1}),
    }


@pytest.mark.parametrize(
    "files, splits, not_taken",
    [
        (["test/1.jpg", "test/2.jpg"], ["train"], "test/ (2 images without class folders)"),  # Kaggle's competitions
        (["test/test/1.jpg"], ["train"], "test/ (1 image without class folders)"),
        (["val/1.jpg", *classes("test")], ["train", "test"], "val/ (1 image without class folders)"),
        (["single_prediction/1.jpg", *classes("test")], ["train", "test"], "single_prediction/ (1 image)"),
        (["annotations/1.xml"], ["train"], "annotations/ (no image)"),
        (["__MACOSX/train/a/._1.png"], ["train"], "__MACOSX/ (no data)"),
        (["pred/1.jpg"], ["train"], "pred/ (1 image)"),
        (["README.md", "data.yaml", ".cache/x"], ["train"], None),
        (["stray.jpg", "train/stray.png"], ["train"], "2 files (an image outside the class folders)"),
        (["train/a/notes.txt", "train/b/x.TXT"], ["train"], "2 files (.txt is no image)"),
        (["train/a/1.txt", "train/a/2.txt", "stray.jpg", "pred/"], ["train"],
         "3 files (2 x .txt is no image, 1 x an image outside the class folders); pred/ (no image)"),
        (["chest_xray/train/a/1.jpg", *classes("val")], ["train", "val"], "chest_xray/ (1 image)"),
    ],
)  # fmt: skip
def test_what_lies_beside_splits_is_not_taken_and_said(tmp_path, files, splits, not_taken):
    write_tree(tmp_path, *classes("train"), *files)
    found = find_classes(tmp_path)
    assert list(found.splits) == splits and found.notes.get("not taken") == not_taken
    assert found.splits["train"].count("a") == 3


@pytest.mark.parametrize(
    "files, message",
    [
        (["train/1.jpg", "test/2.jpg"], "test/, train/ are splits, but they hold their images directly"),
        (["train/1.jpg", "val/2.jpg", "test/3.jpg"], "nothing says of which class.*Expected val/CLASS/IMAGE"),
        (["Training/1.jpg", "Testing/1.jpg", "info/x.txt"], "hold their images directly.*path,label,split"),
        (["trainA/1.jpg", "trainB/1.jpg", "testA/1.jpg", "testB/1.jpg"], "hold their images directly"),  # CycleGAN
        (["train_cat/1.jpg", "train_dog/1.jpg", "test_cat/1.jpg", "test_dog/1.jpg"], "hold their images directly"),
        (["seg_train/seg_train/1.jpg", "seg_test/1.jpg"], "hold their images directly"),
        ([*classes("seg_train"), *classes("seg_test")], "Rename seg_test/ to test/, seg_train/ to train/"),
        ([*classes("seg_train/seg_train"), *classes("seg_test/seg_test"), "seg_pred/1.jpg"], "not known as such"),
        ([*classes("my_train_v2"), *classes("my_val_v2")], "Rename my_train_v2/ to train/, my_val_v2/ to val/"),
        ([*classes("my_train_v2"), "more/1.jpg"], "Rename my_train_v2/ to train/"),
        ([*classes("train"), *classes("test2")], "by their names, test2/ may be splits.*Known are, .*val, valid"),
        ([*classes("train2017"), *classes("val2017")], "Rename train2017/ to train/, val2017/ to val/"),
        ([*classes("train"), *classes("Training")], "both Training/ and train/ are the train split"),
        ([*classes("train"), *classes("val"), *classes("valid")], "both val/ and valid/ are the validation split"),
        ([*classes("train"), "bus/1.jpg", "car/1.jpg"], "bus/, car/ beside it look like classes"),
        (["train/1.jpg", *classes("train"), "bus/1.jpg"], "bus/ beside it look like classes"),
        (["cat/train/1.jpg", "cat/val/1.jpg", "dog/train/1.jpg", "dog/val/1.jpg"], "the splits lie inside the class"),
        ([*classes("photos/train"), *classes("photos/val"), "more/1.jpg"], "photos/ holds the splits train/, val/."),
    ],
)  # fmt: skip
def test_where_it_is_not_clear_what_is_a_split_an_error_says_how_to_name_it(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        find_classes(write_tree(tmp_path, *files))


@pytest.mark.parametrize(
    "files",
    [
        [*classes("flask"), *classes("bowl"), *classes("test_tube")],  # classes of the same depth
        ["test_tube/1.jpg", "flask/1.jpg"],
        ["test_positive/1.jpg", "test_negative/1.jpg"],
        ["contest/a/1.jpg", "strain/b/1.jpg"],
        [*classes("cat", ("indoors", "outdoors")), *classes("dog", ("indoors", "outdoors"))],
        ["cat/train/1.jpg", "cat/toys/2.jpg", "dog/train/1.jpg", "dog/3.jpg"],
    ],
)
def test_other_names_are_classes(tmp_path, files):
    found = find_classes(write_tree(tmp_path, *files))
    assert list(found.splits) == ["all"] and list(found.splits["all"].classes) == sorted(
        {f.split("/")[0] for f in files}
    )
    assert sum(map(found.splits["all"].count, found.splits["all"].classes)) == len(files)


def test_a_class_that_is_known_by_its_name_is_no_split(tmp_path):
    write_tree(tmp_path, "train/1.png", "test/1.png")
    assert list(find_classes(tmp_path, ("test", "train")).splits["all"].classes) == ["test", "train"]
    write_tree(tmp_path / "d", *classes("train"), "bus/1.png", "car/1.png")
    assert list(find_classes(tmp_path / "d", ("bus", "car", "train")).splits["all"].classes) == ["bus", "car", "train"]


def test_a_split_alone_and_a_folder_without_anything(tmp_path):
    assert found_in(write_tree(tmp_path / "a", *classes("val"))) == {"val": ("val", {"a": 3, "b": 3})}
    assert found_in(write_tree(tmp_path / "b", "x/")) == {"all": (".", {"x": 0})}
    assert found_in(write_tree(tmp_path / "c", "1.png")) == {"all": (".", {})}


@pytest.mark.parametrize("file, hint", [(None, ""), ("m.csv", '; a manifest takes dataset="csv"')])
def test_what_is_no_folder_is_an_error(tmp_path, file, hint):
    path = write_tree(tmp_path, file) / file if file else tmp_path / "none"
    with pytest.raises(ValueError, match=f"data_dir is not a folder: .*Expected class folders in it{hint}"):
        find_classes(path)


def test_a_folder_that_mixes_kinds_loses_none(tmp_path):
    kinds = ("jpg", "JPEG", "png", "webp", "tif", "tiff", "gif", "bmp", "jp2", "ppm")
    write_tree(tmp_path, *(f"{name}/1.{kind}" for name in "ab" for kind in kinds))
    assert found_in(tmp_path) == {"all": (".", {"a": len(kinds), "b": len(kinds)})}


def test_links_to_classes_and_splits_are_followed(tmp_path):
    write_tree(tmp_path / "elsewhere", *classes("."))
    (tmp_path / "d" / "train").mkdir(parents=True)
    (tmp_path / "d" / "train" / "cat").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "d" / "val").symlink_to(tmp_path / "d" / "train")
    assert found_in(tmp_path / "d") == {"train": ("train", {"cat": 3}), "val": ("val", {"cat": 3})}


def test_labels_have_one_form_of_unicode_and_paths_that_of_the_disk(tmp_path):
    nfc, nfd = "Caf\xe9", "Cafe\u0301"
    write_tree(tmp_path, f"train/{nfd}/1.png", "train/Tea/1.png", f"val/{nfc}/1.png", "val/Tea/1.png")
    found = find_classes(tmp_path)
    assert [list(part.classes) for part in found.splits.values()] == [[nfc, "Tea"]] * 2
    assert found.splits["train"].classes[nfc].images == (str(tmp_path / "train" / nfd / "1.png"),)


def test_two_folders_for_one_class_are_an_error(tmp_path):
    write_tree(tmp_path, "Caf\xe9/1.png", "Cafe\u0301/1.png", "Tea/1.png")
    with pytest.raises(ValueError, match=r"two folders for the class Café.*Cafe\\u0301"):
        find_classes(tmp_path)


@pytest.mark.parametrize("split", ["", "train/"])
def test_a_class_in_another_encoding_is_an_error_that_names_it_and_the_remedy(tmp_path, split):
    name = os.fsdecode(b"caf\xe9")
    write_tree(tmp_path, f"{split}{name}/1.png", f"{split}tea/1.png")
    with pytest.raises(ValueError, match=r"1 of 2 class folders are not UTF-8, the first is 'caf\\xe9'. .*convmv"):
        find_classes(tmp_path)


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "dev", "VAL", "validation_set"])
@pytest.mark.parametrize("folder", ["val", "Validation", "dev/dev"])
def test_a_split_is_found_by_any_of_its_names(tmp_path, folder, name):
    write_tree(tmp_path, *classes("train"), *classes(folder, images=1))
    assert find_split(tmp_path, name).folder == str(tmp_path / folder)


def test_a_split_may_be_a_folder_of_another_name(tmp_path):
    write_tree(tmp_path, *classes("seg_train"), *classes("seg_test/seg_test"))
    assert find_split(tmp_path, "seg_test").folder == str(tmp_path / "seg_test" / "seg_test")


@pytest.mark.parametrize("name", ["test", "fold3"])
def test_a_split_that_is_not_there_is_an_error_that_lists_the_others(tmp_path, name):
    write_tree(tmp_path, *classes("train"), *classes("Validation"))
    with pytest.raises(ValueError, match=f"no split '{name}', by any of its names. It has train/, Validation/"):
        find_split(tmp_path, name)
    with pytest.raises(ValueError, match="It has no splits"):
        find_split(tmp_path / "train", name)


@pytest.mark.parametrize(
    "files, below",
    [
        ([*classes("photos")], "photos"),
        ([*classes("archive/photos"), "archive/readme.txt"], "archive/photos"),
        ([*classes("archive/photos/train"), *classes("archive/photos/val")], "archive/photos"),
        ([*classes("photos/train")], "photos"),
        ([*classes(".")], None),
        ([*classes("train")], None),
        (["photos/1.png"], None),
        (["x/"], None),
    ],
)
def test_the_folder_that_others_only_wrap(tmp_path, files, below):
    assert deeper(write_tree(tmp_path, *files)) == (below and str(tmp_path / below))


def test_reasons_in_words():
    assert files_in_words(Counter()) == ""
    assert files_in_words(Counter({OUTSIDE: 1})) == "1 file (an image outside the class folders)"
    many = Counter({"a": 2000, "b": 5, "c": 4, "d": 3, "e": 2, "f": 1})
    assert files_in_words(many) == "2,015 files (2,000 x a, 5 x b, 4 x c, 3 x d and 2 more)"
