"""Decoding in a graph against Pillow: formats, modes, orientations, and truncated files."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_vit.preprocessing import decode_and_resize, decode_image, read_image, resize
from tests.preprocessing.samples import encoded, flower, spec


@pytest.mark.parametrize("kind", ["png", "bmp", "jpeg"])
def test_decode_image_gives_pils_pixels(kind):
    data = encoded(flower(), kind)
    np.testing.assert_array_equal(decode_image(data).numpy(), read_image(io.BytesIO(data)))


def test_decode_image_takes_the_first_frame_of_a_gif():
    frames = [Image.fromarray(np.full((5, 6, 3), value, "uint8")) for value in (250, 10)]
    data = encoded(frames[0], "gif", save_all=True, append_images=frames[1:])
    for image in (decode_image(data).numpy(), read_image(io.BytesIO(data))):
        assert image.shape == (5, 6, 3) and (image == 250).all()


@pytest.mark.parametrize("mode", ["RGBA", "L", "P"])
def test_other_png_modes_become_rgb(mode):
    pixels = Image.fromarray(flower()).convert(mode)
    if mode == "RGBA":
        pixels.putalpha(100)
    data = encoded(pixels, "png")
    image = read_image(io.BytesIO(data))
    np.testing.assert_array_equal(image, np.asarray(pixels.convert("RGB")))
    np.testing.assert_array_equal(decode_image(data).numpy(), image)


def test_sixteen_bit_png_keeps_the_upper_bits():
    values = (np.arange(48).reshape(6, 8) * 1300).astype("uint16")
    data = encoded(Image.fromarray(values), "png")
    image = read_image(io.BytesIO(data))
    np.testing.assert_array_equal(image[..., 1], values >> 8)
    np.testing.assert_array_equal(decode_image(data).numpy(), image)


def test_cmyk_jpeg_becomes_rgb():
    data = encoded(Image.fromarray(flower()).convert("CMYK"), "jpeg", quality=95)
    image = read_image(io.BytesIO(data))
    assert image.shape == (40, 61, 3)
    assert np.abs(image.astype(int) - flower()).mean() < 8
    assert np.abs(image.astype(int) - decode_image(data).numpy()).mean() < 8


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_in_the_graph_as_pil_does(orientation, order):
    exif = Image.Exif()
    exif.endian = "<" if order == "little" else ">"
    exif[0x010F] = "a maker"  # an entry before it, whose value is stored elsewhere
    exif[0x0112] = orientation
    data = encoded(flower(), "jpeg", exif=exif.tobytes())
    image = read_image(io.BytesIO(data))
    assert image.shape == ((61, 40, 3) if orientation >= 5 else (40, 61, 3))
    np.testing.assert_array_equal(decode_image(data).numpy(), image)


def test_decode_and_resize_a_batch_of_mixed_images_in_a_graph():
    import tensorflow as tf

    target = spec((12, 16), crop_pct=0.9)
    files = [encoded(flower(), "jpeg"), encoded(flower((33, 20)), "png"), encoded(flower(), "bmp")]
    graph = tf.function(
        lambda data: decode_and_resize(data, target),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    out = graph(tf.constant(files))
    assert out.shape == (3, 12, 16, 3) and out.dtype == tf.float32
    for image, data in zip(out, files):
        np.testing.assert_array_equal(image, resize(read_image(io.BytesIO(data)), target))
    assert graph(tf.zeros([0], tf.string)).shape == (0, 12, 16, 3)


def test_read_image_names_a_truncated_file(tmp_path):
    for kind in ("png", "jpeg"):
        path = tmp_path / f"half.{kind}"
        data = encoded(flower(), kind)
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match=f"half.{kind}"):
            read_image(path)
    path.write_text("a text")
    with pytest.raises(ValueError, match="half.jpeg"):
        read_image(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_image(tmp_path / "nowhere.png")
