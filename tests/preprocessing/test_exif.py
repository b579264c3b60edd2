"""The orientation note, read from bytes built by hand, and the eight turns."""

import struct

import numpy as np
import pytest

from keras_vit.preprocessing.exif import MOST_ENTRIES, SEARCHED, orientation, turn_upright


def header(entries, order="<", before=b"\xff\xd8\xff\xe1\0\0", offset=8):
    """A TIFF header with one directory of (tag, value) pairs, `offset` bytes after its start."""
    directory = struct.pack(f"{order}H", len(entries))
    for tag, value in entries:
        directory += struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, offset)
    return before + b"Exif\0\0" + start + bytes(offset - 8) + directory


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("offset", [8, 300])
def test_entry_is_found_wherever_it_lies(order, offset):
    entries = [(0x0100, 9), (0x0112, 6), (0x0213, 7)]
    assert orientation(header(entries, order, offset=offset)) == 6
    assert orientation(header(entries, order, before=bytes(1000), offset=offset)) == 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8 no marker at all",
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\0\0",  # a directory beyond the end
        header([(0x0100, 6)]),
        header([(0x0112, 0)]),
        header([(0x0112, 9)]),
        header([(0x0112, 6)], before=bytes(SEARCHED)),
        header([(1, 1)] * MOST_ENTRIES + [(0x0112, 6)]),
        header([])[:-2] + b"\0\0" + header([(0x0112, 6)])[-12:],  # behind the directory's end
    ],
)
def test_without_a_valid_note_the_image_is_upright(data):
    assert orientation(data) == 1


def test_cut_off_anywhere_is_no_error():
    whole = header([(0x0100, 9), (0x0112, 6)])
    assert [int(orientation(whole[:n])) for n in range(0, len(whole), 3)].count(6) <= 2


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
