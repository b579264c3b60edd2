import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vit.preprocessing import Spec
from keras_vit.training import data, decoding
from keras_vit.training.parts import Part
from tests.training.toy import recipe

SPEC = Spec((8, 8), (0.5,) * 3, (0.5,) * 3)


def png(level):
    file = io.BytesIO()
    Image.new("RGB", (9, 11), (level, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def prepared():
    encoded = png(10), b"no picture", png(30), png(40)
    return data.prepare(Part(("a", "b", "c", "d"), np.arange(4, dtype="int32"), encoded), SPEC, max_bad_fraction=0.5)


def test_the_decoder_gives_the_picture_of_the_number(prepared):
    decode = tf.function(decoding.decoder(prepared.part, SPEC))
    for number, level in ((0, 10), (2, 30)):
        image = decode(tf.constant(number, tf.int64), tf.constant(0, tf.int64))
        assert image.dtype == tf.uint8 and image.shape == (8, 8, 3)
        np.testing.assert_array_equal(image[..., 0], np.full((8, 8), level))
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(1, tf.int64), tf.constant(0, tf.int64))


def test_a_bad_picture_is_replaced_and_noted(prepared):
    read = decoding.replacing(prepared)
    pictures = tf.data.Dataset.range(4).map(lambda i: read(i, i))
    images, shown = zip(*pictures.as_numpy_iterator())
    assert list(shown) == [0, 2, 2, 3]
    assert [image[0, 0, 0] for image in images] == [10, 30, 30, 40]
    assert [name for name, _ in prepared.bad] == ["b"]


def test_a_part_without_good_pictures_fails_as_its_picture_does(prepared):
    nothing = data.prepare(Part(("b",), np.zeros(1, "int32"), (b"no picture",)), SPEC)
    read = decoding.replacing(nothing)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file format"):
        list(tf.data.Dataset.range(1).map(lambda i: read(i, i)))


def test_seeds_are_of_the_position_and_the_runs_seed():
    seeds = {tuple(decoding.seed_of(recipe(seed=s), tf.constant(p, tf.int64)).numpy()) for s in (0, 1) for p in (0, 9)}
    assert len(seeds) == 4
