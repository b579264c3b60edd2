import os
from collections import Counter

import pytest

from keras_vit.images import listing
from keras_vit.images.listing import NO_FILE, holds_image, list_images
from tests.images.trees import write_tree


def names(folder):
    return [os.path.relpath(image, folder) for image in list_images(folder).images]


def test_images_of_every_kind_that_pillow_reads_are_listed_sorted(tmp_path):
    files = [
        f"{i}{suffix}" for i, suffix in enumerate((".webp", ".JPG", ".tif", ".jp2", ".png", ".pgm", ".gif", ".bmp"))
    ]
    write_tree(tmp_path, *files, "deep/er/1.jpeg")
    assert names(tmp_path) == [*files, "deep/er/1.jpeg"]


def test_other_files_are_counted_with_their_reasons_and_hidden_ones_passed_over(tmp_path):
    write_tree(
        tmp_path, "1.png", "a.txt", "b/c.TXT", "Makefile", "._1.png", ".x/2.png", "b/__MACOSX/3.png", "@eaDir/4.jpg"
    )
    found = list_images(tmp_path)
    assert found.folder == str(tmp_path) and found.images == (str(tmp_path / "1.png"),)
    assert found.left_out == Counter({".txt is no image": 2, "no suffix": 1})
    assert [os.path.basename(path) for path, _ in found.others] == ["Makefile", "a.txt", "c.TXT"]


def test_formats_whose_plugin_is_absent_are_left_out_and_the_plugin_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "missing_plugin", lambda name: "needs it" if name.endswith(".heic") else None)
    found = list_images(write_tree(tmp_path, "1.heic", "2.png"))
    assert found.images == (str(tmp_path / "2.png"),) and found.left_out == Counter({"needs it": 1})


def test_links_to_folders_are_followed_and_circles_end(tmp_path):
    write_tree(tmp_path / "elsewhere", "1.png", "more/2.png")
    write_tree(tmp_path / "cat", "0.png", "deep/3.png")
    (tmp_path / "cat" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "cat" / "deep" / "up").symlink_to(tmp_path / "cat")
    (tmp_path / "cat" / "deep" / "self").symlink_to(".")
    assert names(tmp_path / "cat") == ["0.png", "deep/3.png", "link/1.png", "link/more/2.png"]


def test_a_second_link_to_a_folder_is_counted_and_not_taken_twice(tmp_path):
    write_tree(tmp_path / "elsewhere", "1.png", "more/2.png")
    write_tree(tmp_path / "cat", "0.png")
    for name in ("first", "second"):
        (tmp_path / "cat" / name).symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "cat") == ["0.png", "first/1.png", "first/more/2.png"]
    assert list_images(tmp_path / "cat").left_out == Counter({listing.SECOND_LINK: 1})


def test_a_folders_own_path_counts_and_not_that_of_a_link_to_it(tmp_path):
    write_tree(tmp_path, "z/deep/1.png")
    (tmp_path / "a").symlink_to(tmp_path / "z" / "deep")
    assert names(tmp_path) == ["z/deep/1.png"] and list_images(tmp_path).left_out == Counter({listing.SECOND_LINK: 1})


def test_a_link_to_a_file_is_an_image_like_another(tmp_path):
    write_tree(tmp_path, "there/1.png", "cat/")
    (tmp_path / "cat" / "2.png").symlink_to(tmp_path / "there" / "1.png")
    assert names(tmp_path / "cat") == ["2.png"]


def test_a_folder_that_cannot_be_listed_is_an_error_that_names_it(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        list_images(tmp_path / "nowhere")


def test_names_of_other_bytes_are_listed_as_they_are(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    assert names(write_tree(tmp_path, name)) == [name]


def test_whether_a_folder_holds_an_image(tmp_path):
    write_tree(tmp_path, "a/b/1.png", "c/d/2.txt", "c/._1.png")
    assert holds_image(tmp_path / "a") and not holds_image(tmp_path / "c")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_devices_and_links_to_them_are_left_out_and_links_to_nothing_are_not(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to(os.devnull)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "pipe.jpg")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "none.jpg")
    found = list_images(tmp_path)
    assert found.images == (str(tmp_path / "nowhere.jpg"),)
    assert found.left_out == {NO_FILE: 3}
