"""The one decoder against Pillow's own chain, over valid images of every kind."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from keras_vit.preprocessing import reading
from keras_vit.preprocessing.reading import is_image_name, missing_plugin, read_image
from keras_vit.system import limits
from tests.images_of_all_kinds import BEYOND_PILLOW, images, oriented, seen_by_pillow, tiff_block

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # of odd EXIF


@pytest.mark.parametrize("name", sorted(set(images()) - set(BEYOND_PILLOW)))
def test_an_image_is_seen_as_pillow_sees_it_or_refused(name):
    content = images()[name]
    expected = seen_by_pillow(content)
    if expected is None:
        with pytest.raises(ValueError, match="32-bit numbers"):
            read_image(content)
    else:
        found = read_image(content)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)


def test_a_path_bytes_and_an_open_file_give_the_same(tmp_path):
    content = images()["png_exif_6.png"]
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for file in (path, str(path), content, io.BytesIO(content)):
        np.testing.assert_array_equal(read_image(file), seen_by_pillow(content))


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "a.jpg"
    for content in (b"", b"no image", images()["jpeg_rgb.jpg"][:200], images()["bmp_32_rgbx_masks.bmp"]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="a.jpg cannot be read as an image"):
            read_image(path)
        with path.open("rb") as file, pytest.raises(ValueError, match="a.jpg cannot be read as an image"):
            read_image(file)
    with pytest.raises(ValueError, match="the image cannot be read"):
        read_image(b"no image")
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(IsADirectoryError):
        read_image(tmp_path)


def test_a_turned_image_with_a_tag_that_cannot_be_written_again():
    block = tiff_block([(0x0112, 3, 1, b"\6\0\0\0"), (0x0100, 2, 4, b"abc\0"), (0x011A, 2, 4, b"xyz\0")])
    plain = images()["jpeg_rgb.jpg"]
    content = plain[:2] + b"\xff\xe1" + (len(block) + 8).to_bytes(2, "big") + b"Exif\0\0" + block + plain[2:]
    assert read_image(content).shape == (33, 24, 3)
    turned = images()["jpeg_exif_6_little.jpg"]
    assert oriented(6) in turned
    np.testing.assert_array_equal(read_image(content), read_image(turned))


@pytest.mark.parametrize("error", [RuntimeError, TypeError, AttributeError, MemoryError, SyntaxError, EOFError])
def test_whatever_pillow_raises_names_the_file(error, tmp_path, monkeypatch):
    def fail(image):
        raise error("from within")

    path = tmp_path / "a.png"
    path.write_bytes(images()["png_RGB.png"])
    monkeypatch.setattr(Image.Image, "getexif", fail)
    with pytest.raises(ValueError, match="a.png cannot be read as an image: from within"):
        read_image(path)


def test_programs_that_draw_are_not_run(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.zeros((8, 8, 3), "uint8")).save(path, "eps")
    with pytest.raises(ValueError, match="a.jpg cannot be read as an image: cannot identify"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "d/a.Png", "a.webp", "a.tif", "a.b.TIFF", "a.avif", "a.heic"])
def test_names_of_images(name):
    assert is_image_name(name)


@pytest.mark.parametrize("name", ["._a.jpg", ".a.png", "d/._a.jpg", "a.txt", "a", "a.jpg.txt", "Thumbs.db", "a.pdf"])
def test_names_of_other_files(name):
    assert not is_image_name(name)


@pytest.mark.parametrize("suffix", [".heic", ".HEIF", ".hif"])
def test_what_a_plugin_would_read_names_the_plugin(suffix, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    reading.formats.cache_clear()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    assert "pip install pillow-heif" in missing_plugin(path.name)
    with pytest.raises(ValueError, match=f"a{suffix} cannot be read as an image: .*pip install pillow-heif"):
        read_image(path)
    reading.formats.cache_clear()


def test_nothing_is_missing_for_what_pillow_reads_itself():
    assert missing_plugin("a.jpg") is None


def test_a_file_beyond_the_limit_is_not_opened(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(images()["png_RGB.png"])
    os.truncate(path, limits.MAX_IMAGE_BYTES + 1)  # takes no room on the disk
    with pytest.raises(ValueError, match="large.png cannot be read as an image: it has 1073741825 bytes; at most"):
        read_image(path)
