"""The orientation note in EXIF blocks and XMP texts built by hand, and the eight turns."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vit.preprocessing import exif
from keras_vit.preprocessing.exif import turn_upright
from tests.images_of_all_kinds import ODD_EXIF, oriented, tiff_block, xmp

SIGNATURE = [tf.TensorSpec([], tf.string)]
orientation_in_tiff = tf.function(exif.orientation_in_tiff, input_signature=SIGNATURE)
orientation_in_xmp = tf.function(exif.orientation_in_xmp, input_signature=SIGNATURE)
IGNORED = -1  # in order, without an orientation
UNSURE = 0
IN_ORDER = ("long", "long_big_endian", "70th_entry", "directory_at_3000", "zero", "nine", "none")


def by_pillow(block):
    """The orientation that Pillow reads from a block."""
    entries = Image.Exif()
    entries.load(block)
    value = entries.get(0x0112, IGNORED)
    return value if value in range(1, 9) or value == IGNORED else 1


@pytest.mark.parametrize("where", [{}, {"directory": 300}, {"padding": 5000}, {"directory": 40_000}])
def test_the_entry_is_found_wherever_the_directory_lies(where):
    for value, order in itertools.product(range(1, 9), "<>"):
        assert orientation_in_tiff(oriented(value, order, **where)) == value


@pytest.mark.filterwarnings("ignore:::PIL")  # of blocks that it does not like
def test_an_odd_block_is_read_as_pillow_reads_it_or_left_to_it():
    for name, block in ODD_EXIF.items():
        found = int(orientation_in_tiff(block))
        assert found in (UNSURE, by_pillow(block)), name
        assert found != UNSURE or name not in IN_ORDER


def test_damaged_blocks_are_left_to_pillow():
    damaged = [
        b"",
        b"II",
        b"MM*\0" + oriented(6)[4:],
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x00\x00\x00\x00" + oriented(6)[8:],
        oriented(6)[:-8],
        tiff_block([(0x010F, 2, 2**32 - 1, b"\xff\xff\xff\xff"), (0x0112, 3, 1, b"\6\0\0\0")]),
    ]
    assert [int(orientation_in_tiff(block)) for block in damaged] == [UNSURE] * len(damaged)


def test_a_block_cut_off_anywhere_is_no_error():
    whole = tiff_block([(0x0100, 3, 1, b"\x09\0\0\0"), (0x0112, 3, 1, b"\6\0\0\0")])
    assert {int(orientation_in_tiff(whole[:length])) for length in range(len(whole))} <= {UNSURE, 6}


@pytest.mark.parametrize("form", ["attribute", "element"])
def test_an_xmp_text(form):
    for value in range(10):
        assert orientation_in_xmp(xmp(value, form)) == (value if 1 <= value <= 8 else 1)


def test_an_xmp_text_without_an_orientation():
    for text in (b"", b"tiff:Orientation", b'tiff:Orientation="', b"tiff:Orientation='6'", b"\xff\xfe"):
        assert orientation_in_xmp(text) == 1


def test_of_two_orientations_in_an_xmp_text_the_first_counts():
    assert orientation_in_xmp(b"\xff" + xmp(8) + xmp(3)) == 8


def test_the_eight_turns():
    image = np.arange(2 * 3 * 1).reshape(2, 3, 1)
    turned = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.transpose(1, 0, 2),
        6: np.rot90(image, -1),
        7: image[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(image),
    }
    for number, expected in turned.items():
        np.testing.assert_array_equal(turn_upright(image, number), expected)
