"""What a served graph decodes, and what it skips."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vit.export.serving import decoding
from keras_vit.preprocessing import Spec, read_image, resize
from keras_vit.system import limits
from tests import images_of_all_kinds

SPEC = Spec((8, 12), (0, 0, 0), (1, 1, 1))
PIXELS = np.random.default_rng(0).integers(0, 256, (23, 37, 3), np.uint8)


def encode(form, pixels=PIXELS, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def decode(encoded):
    return decoding.decode_or_skip(encoded, SPEC)


def test_decoded_as_by_pil():
    files = [encode("JPEG"), encode("PNG"), encode("BMP"), encode("GIF"), encode("WEBP")]
    images, decoded = decode(files)
    assert decoded.numpy().all()
    for image, file in zip(images, files):
        np.testing.assert_array_equal(image, resize(read_image(io.BytesIO(file)), SPEC))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_what_exceeds_the_limit_of_the_process_is_skipped(form, monkeypatch):
    monkeypatch.setenv(limits.PIXELS_VARIABLE, str(23 * 37))
    function = tf.function(lambda encoded: decoding.decode_or_skip(encoded, SPEC)[1])
    larger = encode(form, np.zeros((23, 38, 3), np.uint8))
    assert function(tf.constant([larger, encode(form)])).numpy().tolist() == [False, True]


def test_a_png_that_claims_to_be_large():
    data = bytearray(encode("PNG"))
    for side in (20_000, 2**31, 2**32 - 1):
        data[16:24] = struct.pack(">II", side, side)
        assert not decode([bytes(data)])[1][0]


def test_truncated_images_are_skipped_and_do_not_affect_the_others():
    good = encode("PNG")
    alone = decode([good])[0][0]
    for form in ("JPEG", "PNG", "BMP", "GIF"):
        data = encode(form)
        parts = [data[: len(data) * part // 10] for part in range(10)]
        images, decoded = decode([*parts, good])
        assert decoded.numpy().tolist()[-1] and not decoded.numpy()[:6].any()
        np.testing.assert_array_equal(images[-1], alone)


def test_images_of_every_kind_are_seen_as_by_pillow_or_skipped():
    names, files = zip(*images_of_all_kinds.images().items())
    prepared, decoded = decode(files)
    for name, file, image, known in zip(names, files, prepared, decoded):
        if known:
            seen = images_of_all_kinds.seen_by_pillow(file)
            tolerance = int(name in images_of_all_kinds.ROUNDED)
            np.testing.assert_allclose(image, resize(seen, SPEC), rtol=0, atol=tolerance, err_msg=name)
    assert decoded.numpy().sum() > 150
    assert not decoded.numpy()[names.index("bmp_palette8.bmp")] and not decoded.numpy()[names.index("tiff_RGB.tif")]


def test_black_and_white_cmyk_and_turned_images():
    exif = Image.Exif()
    exif[0x0112] = 6  # as a phone held upright writes it
    files = [encode("PNG", PIXELS[..., 0]), encode("JPEG", exif=exif.tobytes(), quality=95)]
    cmyk = io.BytesIO()
    Image.fromarray(PIXELS // 8 * 8).convert("CMYK").save(cmyk, "JPEG", quality=100)
    images, decoded = decode([*files, cmyk.getvalue()])
    assert decoded.numpy().all()
    for image, file in zip(images, files):
        np.testing.assert_array_equal(image, resize(read_image(io.BytesIO(file)), SPEC))
    np.testing.assert_array_equal(images[2], resize(read_image(cmyk.getvalue()), SPEC))
