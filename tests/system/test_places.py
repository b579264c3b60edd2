"""What is asked of paths and URLs alike has the same answers for a folder and its copy in a store."""

import os
from pathlib import Path

import pytest

from keras_vit.system import places
from tests.images.trees import write_tree
from tests.stores import empty_store, put


@pytest.fixture
def both(tmp_path):
    """(a folder, the URL of its copy)."""
    empty_store()
    folder = write_tree(tmp_path / "data", "cat/1.jpg", "cat/deep/2.jpg", "list.csv")
    yield str(folder), put(folder, "memory://bucket/data")
    empty_store()


def test_a_folder_and_its_copy_are_alike(both):
    for folder in both:
        assert places.is_folder(folder) and not places.is_file(folder)
        file = places.inside(folder, "cat", "1.jpg")
        assert places.is_file(file) and not places.is_folder(file)
        assert places.read(file) == b"cat/1.jpg" and places.size(file) == 9
        with places.scan(folder) as entries:
            assert sorted((entry.name, entry.is_dir(), entry.path) for entry in entries) == [
                ("cat", True, places.inside(folder, "cat")),
                ("list.csv", False, places.inside(folder, "list.csv")),
            ]
        assert places.relative(file, folder) == os.path.join("cat", "1.jpg")
        assert places.relative(file, places.inside(folder, "list.csv")) == "../cat/1.jpg"
        assert places.parent(file) == places.inside(folder, "cat") and places.stem(file) == "1"
        with pytest.raises(FileNotFoundError, match="nowhere"):
            places.size(places.inside(folder, "nowhere"))


@pytest.mark.parametrize(
    ("folder", "path", "expected"),
    [
        ("/a/b", "c.jpg", "/a/b/c.jpg"),
        ("/a/b", "./c.jpg", "/a/b/c.jpg"),
        ("/a/b", "s3://d/c.jpg", "s3://d/c.jpg"),
        ("s3://a/b", "./c/../d.jpg", "s3://a/b/d.jpg"),
        ("s3://a/b", "../d.jpg", "s3://a/d.jpg"),
        ("s3://a/b", "/c.jpg", "/c.jpg"),
        ("s3://a/b", "gs://d/c.jpg", "gs://d/c.jpg"),
    ],
)
def test_a_path_in_a_manifest_is_relative_to_its_folder(folder, path, expected):
    assert places.joined(folder, path) == expected


def test_urls_stay_texts():
    assert places.path_of("s3://a/b") == "s3://a/b" and places.path_of("a/b") == Path("a/b")
    assert places.plain("s3://a/b/") == "s3://a/b" and places.plain(Path("a/b/")) == "a/b"
    assert places.absolute("s3://a/b") == "s3://a/b" and places.absolute("b") == os.path.abspath("b")
    assert places.relative("s3://a/b", "s3://c/d") == "s3://a/b" and places.relative("/x", "s3://c") == "/x"


def test_text_has_its_line_ends_and_no_byte_order_mark(both):
    files = empty_store()
    files.pipe_file("/bucket/x", b"\xef\xbb\xbfa\r\nb")
    Path(both[0], "x").write_bytes(b"\xef\xbb\xbfa\r\nb")
    for path in ("memory://bucket/x", os.path.join(both[0], "x")):
        with places.open_text(path) as file:
            assert file.read() == "a\r\nb"
