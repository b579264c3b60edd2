from pathlib import Path

import numpy as np
import pytest

from keras_vit.training.datasets import folders, manifest
from keras_vit.training.datasets.splits import fingerprint
from tests.training.toy import write_folder


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_manifest_of_a_folders_files_gives_the_folders_data_set(tmp_path):
    folder = write_folder(tmp_path / "d", per_class=10)
    files = [path.relative_to(tmp_path) for path in sorted(folder.rglob("*.png"))]
    path = write(tmp_path / "all.csv", "path,label", *(f"{file},{file.parent.name}" for file in files))
    one, other = folders.load(folder, seed=3), manifest.load(path, seed=3)
    assert one.classes == other.classes and other.name == "all"
    for expected, split in zip(one.splits().values(), other.splits().values()):
        assert split.names == expected.names
        np.testing.assert_array_equal(split.labels, expected.labels)


def test_splits_and_absolute_paths_are_taken_as_they_are(tmp_path):
    lines = ["label, split ,extra,path".replace(" ", ""), "cat,train,,a.jpg", "dog,train,x,/b.jpg", "dog,val,,c/d.jpg"]
    data_set = manifest.load(write(tmp_path / "m.csv", *lines))
    assert data_set.train.names == (str(tmp_path / "a.jpg"), "/b.jpg") and list(data_set.train.labels) == [0, 1]
    assert data_set.validation.names == (str(tmp_path / "c/d.jpg"),) and list(data_set.validation.labels) == [1]
    assert data_set.test_is_validation
    data_set = manifest.load(write(tmp_path / "m.csv", *lines, "cat,test,,e.jpg"))
    assert data_set.test.names == (str(tmp_path / "e.jpg"),) and not data_set.test_is_validation


def test_the_files_are_listed_and_those_of_every_class_counted(tmp_path):
    path = write(tmp_path / "m.csv", "path,label,split", "a.jpg,cat,train", "b.jpg,dog,val", "c.jpg,cat,train")
    files = [str(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    assert manifest.list_files(path) == (files, {"train": {"cat": 2}, "val": {"dog": 1}})
    path = write(tmp_path / "m.csv", "path,label", "a.jpg,dog|cat", "b.jpg,", "c.jpg,cat")
    assert manifest.list_files(path) == (files, {"all": {"dog": 1, "cat": 2}})


def test_several_labels_are_a_row_of_zeros_and_ones(tmp_path):
    lines = ["path,label,split", "a.png,dog|cat,train", "b.png,10,train", "c.png,,train", "d.png,cat,val"]
    data_set = manifest.load(write(tmp_path / "m.csv", *lines))
    assert data_set.classes == ("10", "cat", "dog") and data_set.multi_label and data_set.train.labels.dtype == "uint8"
    assert data_set.train.labels.tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert data_set.validation.labels.tolist() == [[0, 1, 0]]
    assert data_set.notes["few images"] == "validation has none of 2 of 3 classes: 10, dog"


def test_a_column_per_class_gives_the_same_data_set_in_the_order_of_the_columns(tmp_path):
    rows = [("a", "x|y"), ("b", ""), ("c", "y"), ("d", "x")]
    one = manifest.load(
        write(tmp_path / "m.csv", "path,label,split", *(f"{f}.png,{n},train" for f, n in rows[:3]), "d.png,x,val")
    )
    columns = [f"{f}.png,{int('y' in n)},{int('x' in n)},{'val' if f == 'd' else 'train'}" for f, n in rows]
    other = manifest.load(write(tmp_path / "n.csv", "path,y,x,split", *columns))
    assert (one.classes, other.classes) == (("x", "y"), ("y", "x")) and one.train.names == other.train.names
    np.testing.assert_array_equal(one.train.labels, other.train.labels[:, ::-1])


def test_images_with_several_labels_are_divided_in_proportion(tmp_path):
    lines = [
        f"{i}.png,{'|'.join(n for n, step in (('a', 2), ('b', 3), ('c', 5)) if i % step == 0)}" for i in range(200)
    ]
    data_set = manifest.load(write(tmp_path / "m.csv", "path,label", *lines))
    assert [len(split) for split in data_set.splits().values()] == [160, 20, 20]
    for split, share in zip(data_set.splits().values(), (0.8, 0.1, 0.1)):
        np.testing.assert_allclose(split.class_counts(3), share * np.array([100, 67, 40]), atol=1)


def test_numeric_classes_are_in_the_order_of_their_values(tmp_path):
    lines = ["path,label", *(f"{i}-{j}.png,{i}" for i in range(12) for j in range(3))]
    assert manifest.load(write(tmp_path / "m.csv", *lines)).classes == tuple(map(str, range(12)))


@pytest.mark.parametrize(
    "lines, message",
    [
        ((), "needs the columns path,label and may have split. It has none"),
        (("paths,label", "a,b"), "It has paths,label: there is no path, but paths"),
        (("path,label",), "no image at all"),
        (("path,label", "a.png,"), r"m.csv, line 2: path and label must not be empty. Received: 'a.png', ''"),
        (("path,label", "a.png"), "line 2: path and label must not be empty. Received: 'a.png', None"),
        (("path,label", "a.png,x", "b.png,y", "./a.png,x"), "lines 2 and 4 name the same image, .*a.png"),
        (("path,label", "a.png,x", "b.png,x"), r"needs two classes or more. .*m.csv has 1: \['x'\]"),
        (
            ("path,label,split", "a.png,x,fold1"),
            "line 2: split must be one of train, val, test, or another name .* Received: 'fold1'",
        ),
        (("path,label,split", "a.png,x,val"), "no image of split train"),
        (("path,label,split", "a.png,x|y,train", "b.png,z|y,val"), "no image of split train has the label 'z'"),
        (("path,x,y,z", *(f"{i}.png,1,{i % 2},0" for i in range(20))), "1 of 3 classes have no image in train"),
        (
            ("path,label,split", "a.png,cat,train", "b.png,dog,train", "c.png,cats,val"),
            "no image of split train has the label 'cats', which one of val has. Closest: 'cat'",
        ),
    ],
)
def test_errors_name_the_line_and_what_is_wrong(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        manifest.load(write(tmp_path / "m.csv", *lines))


@pytest.mark.parametrize(
    "names", [("training", "valid", "Testing"), ("Train", "dev", "test_set"), ("train", "val", "test")]
)
def test_splits_have_the_names_that_folders_may_have(tmp_path, names):
    rows = [f"{split}-{label}.png,{label},{split}" for split in names for label in "ab"]
    data_set = manifest.load(write(tmp_path / "m.csv", "path,label,split", *rows))
    assert [Path(split.names[0]).name for split in data_set.splits().values()] == [f"{name}-a.png" for name in names]
    told = ", ".join(f"{name} is {split}" for name, split in zip(names, data_set.splits()))
    assert data_set.notes == {"splits": told}


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    lines = ["path,label,split", "a.png,cat,train", "b.png,dog,train", "c.png,dog,val"]
    plain = manifest.load(write(tmp_path / "m.csv", *lines))
    marked = manifest.load(write(tmp_path / "m.csv", "\ufeff" + lines[0], *lines[1:]))
    assert fingerprint(plain) == fingerprint(marked) and plain.classes == marked.classes


def test_labels_in_both_forms_of_unicode_are_one_class(tmp_path):
    nfc, nfd = "Caf\xe9", "Cafe\u0301"
    lines = ["path,label,split", f"1.png,{nfd},train", f"2.png,{nfc},train", "3.png,Caff\xe8,train", f"4.png,{nfc},val"]
    data_set = manifest.load(write(tmp_path / "m.csv", *lines))
    assert data_set.classes == (nfc, "Caff\xe8") and list(data_set.validation.labels) == [0]  # as the file orders them


def test_one_image_per_class_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="2 of 12 classes have no image in train"):
        manifest.load(write(tmp_path / "m.csv", "path,label", *(f"{i}.png,{i}" for i in range(12))))


def test_a_missing_file_and_one_that_is_no_text_are_errors(tmp_path):
    with pytest.raises(ValueError, match="takes the path of a CSV file as data_dir. There is no file"):
        manifest.load(tmp_path)
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="not a CSV file in UTF-8"):
        manifest.load(tmp_path / "m.csv")
