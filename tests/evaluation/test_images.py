"""Class folders and CSV files against labels: names, WordNet ids, numbers, orders, and what is refused."""

import itertools
import os

import pytest
from PIL import Image

from keras_vit.evaluation import find_images
from keras_vit.evaluation.images import class_numbers, label_images
from keras_vit.imagenet.labels import imagenet_labels
from tests.images.trees import write_tree

LABELS = tuple("abcdefg")
IMAGENET = tuple(label for _, label in imagenet_labels(1000))


def folders(root, names):
    for name in names:
        (root / name / "deeper").mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(root / name / "deeper" / "1.JPG", "jpeg")
        (root / name / "notes.txt").write_text("no image")
        (root / name / "._1.jpg").write_text("what macOS leaves beside images")
    return root


def numbers(found):
    return [(path.parts[-3], number) for path, number in found]


def manifest(root, text):
    (root / "list.csv").write_text(text, encoding="utf-8")
    return root / "list.csv"


def test_folders_are_matched_by_name_whatever_the_case(tmp_path):
    folders(tmp_path, ["Wild_Cat", "ant", ".cache"])
    found = find_images(tmp_path, ("ant", "bee", "wild cat"))
    assert numbers(found) == [("Wild_Cat", 2), ("ant", 0)]


def test_exact_names_win_over_case(tmp_path):
    found = find_images(folders(tmp_path, ["A", "a"]), ("a", "A"))
    assert numbers(found) == [("A", 1), ("a", 0)]


def test_wordnet_ids_are_known_for_imagenet_labels(tmp_path):
    found = find_images(folders(tmp_path, ["n01440764", "n15075141"]), IMAGENET)
    assert numbers(found) == [("n01440764", 0), ("n15075141", 999)]


def test_imagenet_v2s_folders_are_numbers_though_they_sort_as_strings(tmp_path):
    found = find_images(folders(tmp_path, ["0", "10", "2", "999"]), IMAGENET)
    assert numbers(found) == [("0", 0), ("10", 10), ("2", 2), ("999", 999)]
    with pytest.raises(ValueError, match="'0' is the name of none"):
        find_images(tmp_path, IMAGENET, order="name")


def test_names_win_over_numbers_for_folders(tmp_path):
    """A model trained on such folders calls its classes so, in the order of strings."""
    found = find_images(folders(tmp_path, ["0", "10", "2"]), ("0", "10", "2"))
    assert numbers(found) == [("0", 0), ("10", 1), ("2", 2)]
    assert dict(numbers(find_images(tmp_path, tuple("0123456789") + ("x",), order="numeric")))["10"] == 10


def test_orders_and_class_names():
    names = ["b10", "b2", "a"]
    assert class_numbers(names, ("x", "y", "z"), "sorted") == {"a": 0, "b10": 1, "b2": 2}
    assert class_numbers(["b2", "a"], ("x", "y", "z"), class_names=["a", "b2", "b10"]) == {"a": 0, "b2": 1}
    assert class_numbers(["01", "2"], ("x", "y", "z"), "numeric") == {"01": 1, "2": 2}


@pytest.mark.parametrize(
    ("names", "arguments", "message"),
    [
        ("ab", {"order": "sorted"}, "3 classes.*Received: 2"),
        ("abz", {"class_names": "abc"}, "'z' is none of the given class names"),
        ("ab", {"class_names": "aab"}, "Received: 3, 2 of them different"),
        (["0", "3"], {"order": "numeric"}, "0 to 2. Received: '3'"),
        (["0", "x"], {"order": "numeric"}, "Received: 'x'"),
        (["²"], {"order": "numeric"}, "Received: '²'"),
        (["0", "3"], {}, "'0' is the name of none"),
        (["owl", "owk"], {}, "'owk'.*Closest: owl.*--class-names"),
        (["crane"], {}, "or of two"),
        ("a", {"order": "other"}, "name, numeric, sorted.*'other'"),
        ("a", {"order": "name", "class_names": "abc"}, "must be None"),
    ],
)
def test_names_without_a_class(names, arguments, message):
    with pytest.raises(ValueError, match=message):
        class_numbers(names, ("crane", "crane", "owl"), **arguments)


@pytest.mark.parametrize("names", [("train", "val"), ("Training", "Testing"), ("training_set", "test_set")])
def test_a_split_is_pointed_at(tmp_path, names):
    folders(tmp_path, [f"{name}/a" for name in names])
    listed = ", ".join(f"{name}/" for name in (sorted(names) if "val" in names else names))
    with pytest.raises(ValueError, match=f"has the splits {listed}; choose one with --split"):
        find_images(tmp_path, LABELS)
    assert numbers(find_images(tmp_path, LABELS, names[1])) == [("a", 0)]


@pytest.mark.parametrize("split", ["val", "valid", "Validation", "dev"])
@pytest.mark.parametrize("folder", ["val", "Validation", "valid", "valid/valid"])
def test_a_split_has_any_of_its_names(tmp_path, folder, split):
    folders(tmp_path, [f"train/{name}" for name in "abc"] + [f"{folder}/b"])
    found = label_images(tmp_path, LABELS, split)
    assert numbers(found.images) == [("b", 1)]
    assert found.notes == {"split": f"{folder}/", "not taken": "1 file (.txt is no image)"}


def test_a_split_that_is_not_there(tmp_path):
    folders(tmp_path, ["train/a", "val/a"])
    with pytest.raises(ValueError, match="no split 'test', by any of its names. It has train/, val/"):
        find_images(tmp_path, LABELS, "test")


def test_a_class_of_the_model_is_no_split(tmp_path):
    write_tree(tmp_path, "train/1.png", "test/1.png", "val/2.png")
    assert [number for _, number in find_images(tmp_path, ("bus", "test", "train", "val"))] == [1, 2, 3]


def test_images_of_every_kind_and_behind_links_are_found(tmp_path):
    write_tree(tmp_path, "d/a/1.webp", "d/a/2.tif", "d/b/3.JPG", "d/b/4.jp2", "more/5.png", "d/b/notes.txt")
    (tmp_path / "d" / "a" / "more").symlink_to(tmp_path / "more")
    found = label_images(tmp_path / "d", LABELS)
    assert [(path.name, number) for path, number in found.images] == [
        ("1.webp", 0),
        ("2.tif", 0),
        ("5.png", 0),
        ("3.JPG", 1),
        ("4.jp2", 1),
    ]
    assert found.notes == {"not taken": "1 file (.txt is no image)"}


@pytest.mark.parametrize("label, folder", list(itertools.permutations(("Caf\xe9", "Cafe\u0301", "CAFE\u0301"), 2)))
def test_accents_are_compared_whatever_their_form(tmp_path, label, folder):
    write_tree(tmp_path, f"d/{folder}/1.png")
    assert [number for _, number in find_images(tmp_path / "d", ("Tea", label))] == [1]
    assert [number for _, number in find_images(manifest(tmp_path, f"path,label\n1.png,{folder}"), ("Tea", label))] == [
        1
    ]


@pytest.mark.parametrize("given, folder", [("Caf\xe9", "Cafe\u0301"), ("Cafe\u0301", "Caf\xe9")])
def test_given_class_names_may_have_another_form_too(given, folder):
    assert class_numbers([folder], ("x", "y"), class_names=["Tea", given]) == {folder: 1}
    with pytest.raises(ValueError, match="Closest: Caf\xe9"):
        class_numbers([f"{folder}s"], ("x", "y"), class_names=["Tea", given])


def test_a_class_in_another_encoding_is_an_error(tmp_path):
    write_tree(tmp_path, os.fsdecode(b"caf\xe9/1.png"))
    with pytest.raises(ValueError, match=r"not UTF-8, the first is 'caf\\xe9'.*convmv"):
        find_images(tmp_path, LABELS)


def test_the_folder_that_was_meant_is_named(tmp_path):
    write_tree(tmp_path, "archive/photos/a/1.png", "archive/photos/b/1.png")
    with pytest.raises(ValueError, match="'archive' is the name of none.*Is .*/archive/photos meant?"):
        find_images(tmp_path, LABELS)


def test_no_folder_or_no_images(tmp_path):
    with pytest.raises(ValueError, match="no folder with images"):
        find_images(tmp_path, LABELS)
    with pytest.raises(ValueError, match="nowhere does not exist"):
        find_images(tmp_path / "nowhere", LABELS)


def test_csv_by_name_and_by_number(tmp_path):
    path = manifest(tmp_path, "\ufeffid,path,label\n7,x/1.png,b\n8,/y/2.png,A\n")  # as Excel begins a file
    found = find_images(path, LABELS)
    assert [(str(name), number) for name, number in found] == [(str(tmp_path / "x/1.png"), 1), ("/y/2.png", 0)]
    path = manifest(tmp_path, "path,label\n1.png,6\n2.png,0\n")
    assert [number for _, number in find_images(path, LABELS)] == [6, 0]


def test_csv_labels_that_may_be_names_or_numbers_have_to_be_told_apart(tmp_path):
    labels, path = ("0", "10", "2"), manifest(tmp_path, "path,label\n1.png,0\n2.png,2\n")
    assert [number for _, number in find_images(path, ("0", "1", "2"))] == [0, 2]
    assert [number for _, number in find_images(path, labels, order="numeric")] == [0, 2]
    assert [number for _, number in find_images(path, ("2", "1", "0"), order="name")] == [2, 0]
    with pytest.raises(ValueError, match="--label-order numeric"):
        find_images(path, ("2", "1", "0"))


def test_a_manifests_split_has_to_be_chosen(tmp_path):
    path = manifest(tmp_path, "path, label, split\n1.png, a, train\n2.png, b, val\n")
    assert find_images(path, LABELS, "val") == [(tmp_path / "2.png", 1)]
    assert find_images(path, LABELS, "Validation") == [(tmp_path / "2.png", 1)]
    for split in (None, "test"):
        with pytest.raises(ValueError, match="splits train, val; .*--split"):
            find_images(path, LABELS, split)
    with pytest.raises(ValueError, match="--split. Received: val"):
        find_images(manifest(tmp_path, "path,label\n1.png,a\n"), LABELS, "val")


def test_a_file_in_another_encoding(tmp_path):
    (tmp_path / "list.csv").write_bytes("path,label\nä.png,a\n".encode("utf-16"))
    with pytest.raises(ValueError, match="list.csv is not a CSV file in UTF-8"):
        find_images(tmp_path / "list.csv", LABELS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,class\n1.png,a\n", "path,label and may have split. It has path,class"),
        ("", "path,label and may have split. It has none"),
        ("path,label\n", "names no image"),
        ("path,label\n1.png,a\n2.png\n", "line 3: path and label must not be empty"),
        ("path,label\n1.png,a\n,b\n", "line 3: path and label must not be empty"),
        ("path,label\n1.png,q\n", "list.csv: 'q' is the name of none"),
    ],
)
def test_bad_csv_files(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        find_images(manifest(tmp_path, text), LABELS)


def test_of_several_labels_an_image_has_a_tuple_of_numbers(tmp_path):
    def of(found):
        return [number for _, number in found]

    path = manifest(tmp_path, "path,label,split\n1.png,b|a,val\n2.png,,val\n3.png,c,val\n4.png,d,train\n")
    assert of(find_images(path, LABELS, "val", multi_label=True)) == [(1, 0), (), (2,)]
    path = manifest(tmp_path, "path,c,A\n1.png,1,0\n2.png,1,1\n")
    assert of(find_images(path, LABELS, multi_label=True)) == [(2,), (2, 0)]
    with pytest.raises(ValueError, match="line 3: one class per image is expected here, since the model knows no more"):
        find_images(path, LABELS)
    folder = folders(tmp_path / "folders", "ab")
    assert set(of(find_images(folder, LABELS, multi_label=True))) == {(0,), (1,)}
