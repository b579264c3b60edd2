"""Decoding in a graph against Pillow, over valid images of every kind."""

import io

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.preprocessing import decode_and_resize, decode_image, headers, read_image, resize
from tests.images_of_all_kinds import BEYOND_PILLOW, ROUNDED, images, seen_by_pillow
from tests.preprocessing.samples import encoded, flower, spec

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # of odd EXIF
SIGNATURE = [tf.TensorSpec([], tf.string)]
alone = tf.function(decode_image, input_signature=SIGNATURE)
beside_pillow = tf.function(lambda content: decode_image(content, with_pillow=True), input_signature=SIGNATURE)
orientation = tf.function(headers.orientation, input_signature=SIGNATURE)


def attempt(decode, content):
    """What a decoder sees, uint8 (H0, W0, 3), or the text of its error."""
    try:
        return decode(content).numpy()
    except tf.errors.InvalidArgumentError as error:
        return str(error)


@pytest.fixture(scope="module")
def found():
    """{name: (orientation, seen by the graph, seen with Pillow's help)}.

    The seeds set before every test make TensorFlow optimise a function anew, a second each.
    """
    return {
        name: (int(orientation(content)), attempt(alone, content), attempt(beside_pillow, content))
        for name, content in images().items()
    }


@pytest.mark.parametrize("name", images())
def test_a_graph_sees_an_image_as_pillow_does_or_refuses_it(name, found):
    known, seen, _ = found[name]
    if known == 0:
        assert "save it as JPEG or PNG" in seen
    else:
        np.testing.assert_allclose(seen, seen_by_pillow(images()[name]), rtol=0, atol=int(name in ROUNDED))


@pytest.mark.parametrize("name", images())
def test_with_pillow_a_graph_sees_every_image_as_pillow_does(name, found):
    *_, seen = found[name]
    expected = None if name in BEYOND_PILLOW else seen_by_pillow(images()[name])
    if expected is None:
        assert "save it as JPEG or PNG" in seen
    else:
        np.testing.assert_allclose(seen, expected, rtol=0, atol=int(name in ROUNDED))


def test_damaged_images_are_refused_by_both():
    for content in (b"", b"no image", images()["jpeg_rgb.jpg"][:200], images()["tiff_RGB.tif"][:99]):
        assert isinstance(attempt(alone, content), str) and isinstance(attempt(beside_pillow, content), str)


def test_decode_and_resize_a_batch_of_mixed_images_in_a_graph():
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
