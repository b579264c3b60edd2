import pytest

from keras_vit.images.manifest import read_manifest


def write(path, *lines, encoding="utf-8"):
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rows_have_the_line_the_path_the_label_and_the_split(tmp_path, encoding):
    lines = ["label,split,more,path", "cat,train,x,a/1.png", "dog,,,/b.png"]
    rows = read_manifest(write(tmp_path / "m.csv", *lines, encoding=encoding))
    assert rows == [
        (2, str(tmp_path / "a" / "1.png"), "cat", "cat", "train"),
        (3, "/b.png", "dog", "dog", ""),
    ]


def test_without_a_column_there_is_no_split_and_paths_stay_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_manifest(write(tmp_path / "m.csv", "path, label", "a.png, cat") and "m.csv") == [
        (2, "a.png", "cat", "cat", None)
    ]


def test_labels_have_one_form_of_unicode_and_paths_stay_as_they_are(tmp_path):
    (row,) = read_manifest(write(tmp_path / "m.csv", "path,label", "Cafe\u0301.png,Cafe\u0301"))
    assert (row.label, row.written) == ("Caf\xe9", "Cafe\u0301") and row.path.endswith("Cafe\u0301.png")


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
    ],
)
def test_errors_name_the_column_or_line(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        read_manifest(write(tmp_path / "m.csv", *lines))
