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


def read(prepared, *batches, change=lambda image, position: image):
    """(level, number shown) of every picture of the batches."""
    decode = decoding.decoder(prepared.part, SPEC)
    reader = decoding.batch_reader(decode, change, prepared.quarantine, SPEC.size)
    batches = tf.data.Dataset.from_tensor_slices(np.array(batches)).map(lambda numbers: reader(numbers, numbers))
    images, shown = batches.element_spec
    assert images.shape == (*shown.shape, 8, 8, 3) and images.dtype == tf.uint8
    return [list(zip(images[:, 0, 0, 0], shown)) for images, shown in batches.as_numpy_iterator()]


def test_a_bad_picture_is_replaced_and_noted(prepared):
    assert read(prepared, [3, 0, 2], [1, 2, 1]) == [[(40, 3), (10, 0), (30, 2)], [(30, 2)] * 3]
    assert prepared.replaced[0][0] == "b" and prepared.replaced[0][1].endswith("; c takes its place")


def test_what_is_changed_are_all_pictures_the_replaced_too(prepared):
    def change(image, position):
        return image + tf.cast(position, tf.uint8)

    assert read(prepared, [3, 1, 0], change=change) == [[(43, 3), (31, 2), (10, 0)]]


def test_an_error_of_a_change_is_no_bad_picture(prepared):
    def change(image, position):
        with tf.control_dependencies([tf.debugging.assert_less(position, np.int64(3), "no such change")]):
            return tf.identity(image)

    with pytest.raises(tf.errors.InvalidArgumentError, match="no such change"):
        read(prepared, [0, 2, 3], change=change)
    assert prepared.bad == ()


def test_a_part_without_good_pictures_fails_as_its_picture_does():
    nothing = data.prepare(Part(("b",), np.zeros(1, "int32"), (b"no picture",)), SPEC)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file format"):
        read(nothing, [0, 0])


def test_seeds_are_of_the_position_and_the_runs_seed():
    seeds = {tuple(decoding.seed_of(recipe(seed=s), tf.constant(p, tf.int64)).numpy()) for s in (0, 1) for p in (0, 9)}
    assert len(seeds) == 4
