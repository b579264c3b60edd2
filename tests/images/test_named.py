"""What a command line names: files, folders, globs and lists, mixed, and what is left out of them."""

import io
import os

import pytest

from keras_vit.images.named import counted, named_images


@pytest.fixture
def album(tmp_path, monkeypatch):
    """A folder with images in two layers, and files that are none."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.PNG", "deep/er/c.webp", "notes.txt", "._b.jpg", "deep/plain", "[1].jpg"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "album"


ALL = ["album/[1].jpg", "album/a.PNG", "album/b.jpg", "album/deep/er/c.webp"]


@pytest.mark.parametrize(
    ("given", "images"),
    [
        (["album"], ALL),
        (["album/"], ALL),
        (["album/deep", "album"], ["album/deep/er/c.webp", *ALL[:3]]),
        (["album/*.jpg"], ["album/[1].jpg", "album/b.jpg"]),
        (["album/**/*.webp"], ["album/deep/er/c.webp"]),
        (["album/*"], ALL),
        (["album/[ab].*"], ["album/a.PNG", "album/b.jpg"]),
        (["album/?.jpg"], ["album/b.jpg"]),
        (["album/[1].jpg"], ["album/[1].jpg"]),  # a file of this name: no glob
        (["album/notes.txt"], ["album/notes.txt"]),  # it was named: reading it says what is wrong
        (["album/nowhere.jpg"], ["album/nowhere.jpg"]),
        (["album/b.jpg", "album/b.jpg"], ["album/b.jpg"] * 2),
        (["album", "album"], ALL),
        (["album", "album/b.jpg", "album/../album/b.jpg"], ALL),
        (["album/b.jpg", "album", "album/*.jpg"], ["album/b.jpg", *ALL[:2], ALL[3]]),
        (["-"], ["album/b.jpg", "album/deep/er/c.webp"]),
        (["album/a.PNG", "-", "album/*.jpg"], ["album/a.PNG", "album/b.jpg", "album/deep/er/c.webp", "album/[1].jpg"]),
    ],
)
def test_images_of_what_is_given(album, given, images):
    assert list(named_images(given, io.BytesIO(b"album/b.jpg\nalbum/deep\n")).images) == images


@pytest.mark.parametrize(
    ("data", "images"),
    [
        (b"a.jpg\nb c.jpg\n", ["a.jpg", "b c.jpg"]),
        (b"a.jpg\r\nb.jpg", ["a.jpg", "b.jpg"]),
        (b"\xef\xbb\xbfa.jpg\n\n", ["a.jpg"]),
        (b"a\n1.jpg\0b.jpg\0", ["a\n1.jpg", "b.jpg"]),
        (b"*.jpg\n", ["*.jpg"]),  # names, not globs
        ("é.jpg\n".encode(), ["é.jpg"]),
        (b"caf\xe9.jpg\n", [os.fsdecode(b"caf\xe9.jpg")]),
        (b"-\n", ["-"]),
    ],
)
def test_a_list_has_a_path_per_line_or_zero_byte(tmp_path, monkeypatch, data, images):
    monkeypatch.chdir(tmp_path)
    assert list(named_images(["-"], io.BytesIO(data)).images) == images


@pytest.mark.parametrize("given", ["album", "album/*", "album/**"])
def test_files_left_out_are_counted_once_and_hidden_ones_not(album, given):
    left_out = named_images([given, "album/deep"]).left_out
    assert left_out == {".txt is no image": 1, "no suffix": 1}
    assert counted(left_out) == "1 file (.txt is no image), 1 file (no suffix)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("empty", "empty: this folder holds no image.*jpg.*Left out: 2 files"),
        ("empty/*", r"this glob matches no image.*Left out: 2 files \(.txt is no image\)"),
        ("album/*.gif", "this glob matches no image"),
        ("-", "standard input is empty"),
    ],
)
def test_nothing_found_is_an_error_that_says_what_was_expected(album, given, message):
    for name in "ab":
        (album.parent / "empty").mkdir(exist_ok=True)
        (album.parent / "empty" / f"{name}.txt").touch()
    with pytest.raises(ValueError, match=message):
        named_images(["album", given], io.BytesIO(b" \n"))
