import pytest

from keras_vit.images.manifest import read_manifest


def write(path, *lines, encoding="utf-8"):
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def labels_of(path, **options):
    return [row.labels for row in read_manifest(path, **options).rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rows_have_the_line_the_path_the_label_and_the_split(tmp_path, encoding):
    lines = ["label,split,more,path", "cat,train,x,a/1.png", "dog,,,/b.png"]
    manifest = read_manifest(write(tmp_path / "m.csv", *lines, encoding=encoding))
    assert manifest.rows == [
        (2, str(tmp_path / "a" / "1.png"), ("cat",), ("cat",), "train"),
        (3, "/b.png", ("dog",), ("dog",), ""),
    ]
    assert manifest.multi_label is False and manifest.classes is None


def test_without_a_column_there_is_no_split_and_paths_stay_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_manifest(write(tmp_path / "m.csv", "path, label", "a.png, cat") and "m.csv").rows == [
        (2, "a.png", ("cat",), ("cat",), None)
    ]


def test_labels_have_one_form_of_unicode_and_paths_stay_as_they_are(tmp_path):
    (row,) = read_manifest(write(tmp_path / "m.csv", "path,label", "Cafe\u0301.png,Cafe\u0301|x")).rows
    assert (row.labels, row.written) == (("Caf\xe9", "x"), ("Cafe\u0301", "x"))
    assert row.path.endswith("Cafe\u0301.png")


def test_a_label_may_name_several_classes_and_then_an_empty_one_names_none(tmp_path):
    path = write(tmp_path / "m.csv", "path,label,split", "1.png,b|a,", "2.png,,", "3.png,c | b|c,", "4.png,a,")
    manifest = read_manifest(path)
    assert manifest.multi_label and manifest.classes is None
    assert [row.labels for row in manifest.rows] == [("b", "a"), (), ("c", "b"), ("a",)]


def test_a_column_per_class_says_the_same(tmp_path):
    path = write(tmp_path / "m.csv", "split,b,path,a", "val,1,1.png,0", ",TRUE,2.png,True", ",0,3.png, 0")
    manifest = read_manifest(path)
    assert manifest.multi_label and manifest.classes == ("b", "a")
    assert [(row.labels, row.split) for row in manifest.rows] == [(("b",), "val"), (("b", "a"), ""), ((), "")]


def test_beside_a_column_label_other_columns_are_no_classes(tmp_path):
    assert labels_of(write(tmp_path / "m.csv", "path,label,a,b", "1.png,c,1,0")) == [("c",)]


def test_whether_there_may_be_several_labels_can_be_said(tmp_path):
    path = write(tmp_path / "m.csv", "path,label", "1.png,a", "2.png,")
    assert labels_of(path, multi_label=True) == [("a",), ()]
    with pytest.raises(ValueError, match="line 3: path and label must not be empty"):
        read_manifest(path)
    path = write(tmp_path / "m.csv", "path,label", "1.png,a", "2.png,a|b")
    with pytest.raises(ValueError, match=r"m.csv, line 3: one class per image is expected .* Received: 'a\|b'"):
        read_manifest(path, multi_label=False)
    path = write(tmp_path / "m.csv", "path,a,b", "1.png,1,0", "2.png,0,1")
    assert labels_of(path, multi_label=False) == [("a",), ("b",)]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_an_error(tmp_path, encoding):
    with pytest.raises(ValueError, match="m.csv is not a CSV file in UTF-8"):
        read_manifest(write(tmp_path / "m.csv", "path,label", "ä.png,ä", encoding=encoding))


@pytest.mark.parametrize(
    "lines, message",
    [
        (("path;label", "a;b"), "needs the columns path,label and may have split. It has path;label"),
        (("path,labels", "a,b"), "there is no label, but labels. The first line names the columns"),
        (("path,label", "a.png,x", ",x"), "m.csv, line 3: path and label must not be empty. Received: '', 'x'"),
        (("path,label", "a.png"), "line 2: .*Received: 'a.png', None"),
        (("path,label", "a.png,x", "b.png,"), r"line 3: .* Images without a class are for manifests of several labels"),
        (("path,label", "a.png,x|"), r"line 2: expected a name on either side of every .* Received: 'x\|'"),
        (("path,a,b", "1.png,1,0", "2.png,1,"), "line 3: b must be 0 or 1, .* Received: ''. Without a column label"),
        (("path,a,b", "1.png,1"), "line 2: b must be 0 or 1, .* Received: None"),
        (("path,labels,width", "1.png,cat,640"), "line 2: labels must be 0 or 1, .* Received: 'cat'"),
        (("path,a,b,a", "1.png,1,0,1"), "every class needs one column, .* Received: a twice"),
        (("path,a,,b", "1.png,1,0,1"), "Received: a column without a name"),
    ],
)
def test_errors_name_the_column_or_line(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        read_manifest(write(tmp_path / "m.csv", *lines))
