"""What a graph may decode, over valid images of every kind; damaged ones do not hold it up."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.preprocessing.headers import orientation
from tests.images_of_all_kinds import images

LEFT_TO_PILLOW = (  # beginnings of names
    *("jpeg_cmyk_noadobe", "jpeg_exif_in_two_segments"),
    *(
        f"{kind}_exif_{odd}"
        for kind in ("jpeg", "png", "webp")
        for odd in ("ascii", "byte", "signed", "rational", "two_s")
    ),
    *(f"{kind}_exif_{odd}" for kind in ("jpeg", "png", "webp") for odd in ("unknown", "value_beyond", "twice")),
    *("png_xmp_6_compressed", "png_exif_as_raw"),
    *("gif_no_table", "gif_transparent", "gif_small", "gif_large"),
    *("bmp_palette", "bmp_grey1", "bmp_grey4", "bmp_inverted", "bmp_24_os2", "bmp_32", "bmp_16", "bmp_rle"),
    *("bmp_by_pillow_1", "bmp_by_pillow_P", "webp_animated"),
    *("tiff", "ppm", "pgm", "pbm", "tga", "pcx", "ico", "icns", "jp2", "sgi", "dds", "qoi", "xbm", "avif"),
)
read = tf.function(orientation, input_signature=[tf.TensorSpec([], tf.string)])


@pytest.fixture(scope="module")
def found():
    """{name: orientation}; the seeds set before every test make TensorFlow optimise a function anew, a second each."""
    return {name: int(read(content)) for name, content in images().items()}


@pytest.mark.parametrize("name", images())
def test_common_kinds_are_decoded_in_the_graph_and_rare_ones_left_to_pillow(name, found):
    assert (found[name] == 0) == name.startswith(LEFT_TO_PILLOW)


@pytest.mark.parametrize("kind", ["jpeg_exif_6_big.jpg", "png_exif_6.png", "webp_exif_6.webp", "gif_comment.gif"])
def test_a_file_cut_off_anywhere_ends(kind):
    whole = images()[kind]
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        try:
            assert 0 <= read(whole[:length]) <= 8
        except tf.errors.InvalidArgumentError:  # of a JPEG without its sizes
            assert kind.startswith("jpeg")


@pytest.mark.parametrize("kind", ["jpeg_exif_6_big.jpg", "png_exif_6.png", "webp_exif_6.webp", "gif_comment.gif"])
def test_changed_bytes_never_hold_it_up(kind):
    draw = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(images()[kind])
        for at in draw.integers(2, 120, 5):
            data[at % len(data)] = draw.integers(256)
        try:
            assert 0 <= read(bytes(data)) <= 8
        except tf.errors.InvalidArgumentError:
            assert kind.startswith("jpeg")


def test_beginnings_and_other_content_are_not_decoded():
    for content in (b"", b"\xff\xd8", b"\x89PNG", b"GIF89a", b"BM", b"RIFF", b"no image at all"):
        assert read(content) == 0
