"""Sizes in headers compared with Pillow's."""

import struct

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.preprocessing import sizes
from keras_vit.system import limits
from tests.preprocessing.samples import encoded

PIXELS = np.random.default_rng(0).integers(0, 256, (23, 37, 3), np.uint8)
FORMS = ("jpeg", "png", "gif", "bmp", "webp")


def within(limit, content, monkeypatch):
    monkeypatch.setenv(limits.PIXELS_VARIABLE, str(limit))
    return bool(tf.function(sizes.fits, [tf.TensorSpec([], tf.string)])(content))


@pytest.mark.parametrize("form", FORMS)
def test_the_number_of_pixels_is_that_of_the_header(form, monkeypatch):
    content = encoded(PIXELS, form)
    if form != "jpeg":  # whose size has no fixed position
        content = content[: sizes.HEADER]
    assert within(23 * 37, content, monkeypatch) and not within(23 * 37 - 1, content, monkeypatch)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}])
def test_the_three_kinds_of_webp(options, monkeypatch):
    content = encoded(np.zeros((100, 500, 3), np.uint8), "webp", **options)
    assert within(50_000, content, monkeypatch) and not within(49_999, content, monkeypatch)


def test_a_bmp_with_rows_from_the_top(monkeypatch):
    content = bytearray(encoded(PIXELS, "bmp"))
    content[22:26] = struct.pack("<i", -23)
    assert within(23 * 37, bytes(content), monkeypatch) and not within(23 * 37 - 1, bytes(content), monkeypatch)


@pytest.mark.parametrize(
    "sides", [(1, limits.MAX_SIDE + 1), (limits.MAX_SIDE + 1, 1), (2**31, 2**31), (10_000, 10_000)]
)
def test_a_png_that_claims_to_be_large(sides):
    content = bytearray(encoded(PIXELS, "png"))
    content[16:24] = struct.pack(">II", *sides)
    assert not sizes.fits(bytes(content))


@pytest.mark.parametrize("content", [b"", b"x", b"no image at all, but long enough"])
def test_other_bytes_are_an_answer_too(content):
    assert sizes.fits(content).dtype == tf.bool
