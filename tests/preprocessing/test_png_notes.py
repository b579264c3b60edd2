"""PNGs with notes that Pillow refuses them for, read as browsers and TensorFlow read them."""

import struct
import zlib

import numpy as np
import pytest

from keras_vit.preprocessing import decode_image, read_image
from keras_vit.preprocessing.png_notes import without_notes
from tests.images_of_all_kinds import images
from tests.preprocessing.samples import encoded, flower

PNG = encoded(flower(), "png")
MEGABYTES = zlib.compress(b"x" * 90_000_000)


def chunk(name, content, damaged=False):
    checksum = zlib.crc32(name + content) ^ damaged
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def with_note(*note):
    end_of_header = 8 + 25
    return PNG[:end_of_header] + chunk(*note) + PNG[end_of_header:]


pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # of odd EXIF
NOTES = {
    "text that unpacks to 90 MB": (b"zTXt", b"Comment\0\0" + MEGABYTES),
    "international text that unpacks to 90 MB": (b"iTXt", b"Comment\0\1\0\0\0" + MEGABYTES),
    "profile that unpacks to 90 MB": (b"iCCP", b"icc\0\0" + MEGABYTES),
    "damaged text": (b"tEXt", b"Comment\0nothing", True),
    "damaged gamma": (b"gAMA", b"\0\0\1\0", True),
    "gamma cut short": (b"gAMA", b"\0"),
}


@pytest.mark.parametrize("note", NOTES)
def test_the_pixels_are_those_of_the_file_without_the_note(note):
    content = with_note(*NOTES[note])
    np.testing.assert_array_equal(read_image(content), read_image(PNG))
    np.testing.assert_array_equal(decode_image(content), read_image(PNG))


IN_OTHER_TEXT = ("png_xmp_6_compressed.png", "png_exif_as_raw_profile.png", "png_exif_as_raw_text.png")
TURNED = [name for name in images() if name.startswith(("png_exif", "png_xmp")) and name not in IN_OTHER_TEXT]


@pytest.mark.parametrize("name", TURNED)
def test_an_image_is_turned_though_another_note_is_damaged(name):
    content = images()[name]
    damaged = content[:33] + chunk(b"tEXt", b"Comment\0nothing", True) + content[33:]
    np.testing.assert_array_equal(read_image(damaged), read_image(content))


def test_only_a_png__with_notes_is_changed():
    assert without_notes(PNG) is None
    assert without_notes(encoded(flower(), "jpeg")) is None
    assert without_notes(b"") is None


def test_what_is_damaged_itself_stays_refused():
    with pytest.raises(ValueError, match="cannot be read as an image"):
        read_image(with_note(*NOTES["damaged text"])[:-40])
