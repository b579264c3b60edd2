import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vit.preprocessing import Spec
from keras_vit.training.datasets.splits import Split
from keras_vit.training.pipeline import decoding
from keras_vit.training.pipeline.batches import prepare
from tests.training.toy import recipe

SPEC = Spec((8, 8), (0.5,) * 3, (0.5,) * 3)


def png(level):
    file = io.BytesIO()
    Image.new("RGB", (9, 11), (level, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def prepared():
    encoded = png(10), b"no image", png(30), png(40)
    return prepare(Split(("a", "b", "c", "d"), np.arange(4, dtype="int32"), encoded), SPEC, max_bad_fraction=0.5)


def test_the_decoder_returns_the_image_of_an_index(prepared):
    decode = tf.function(decoding.decoders(prepared.split, SPEC)[0])
    for index, level in ((0, 10), (2, 30)):
        image = decode(tf.constant(index, tf.int64), tf.constant(0, tf.int64))
        assert image.dtype == tf.uint8 and image.shape == (8, 8, 3)
        np.testing.assert_array_equal(image[..., 0], np.full((8, 8), level))
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(1, tf.int64), tf.constant(0, tf.int64))


def read(prepared, *batches, augment_image=lambda image, position: image):
    """(level, index after replacement) of every image of the batches."""
    decoders = decoding.decoders(prepared.split, SPEC)
    reader = decoding.batch_reader(*decoders, augment_image, prepared.quarantine, SPEC.size)
    batches = tf.data.Dataset.from_tensor_slices(np.array(batches)).map(lambda indices: reader(indices, indices))
    images, found = batches.element_spec
    assert images.shape == (*found.shape, 8, 8, 3) and images.dtype == tf.uint8
    return [list(zip(images[:, 0, 0, 0], found)) for images, found in batches.as_numpy_iterator()]


def test_a_bad_image_is_replaced_and_recorded(prepared):
    assert read(prepared, [3, 0, 2], [1, 2, 1]) == [[(40, 3), (10, 0), (30, 2)], [(30, 2)] * 3]
    assert prepared.replaced[0][0] == "b" and prepared.replaced[0][1].endswith("; c takes its place")


def test_replacements_are_augmented_too(prepared):
    def augment_image(image, position):
        return image + tf.cast(position, tf.uint8)

    assert read(prepared, [3, 1, 0], augment_image=augment_image) == [[(43, 3), (31, 2), (10, 0)]]


def test_an_error_in_augmentation_is_no_bad_image(prepared):
    def augment_image(image, position):
        with tf.control_dependencies([tf.debugging.assert_less(position, np.int64(3), "cannot augment")]):
            return tf.identity(image)

    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot augment"):
        read(prepared, [0, 2, 3], augment_image=augment_image)
    assert prepared.bad == ()


def test_a_split_without_good_images_raises_the_error_of_the_image():
    nothing = prepare(Split(("b",), np.zeros(1, "int32"), (b"no image",)), SPEC)
    with pytest.raises(tf.errors.InvalidArgumentError, match="save it as JPEG or PNG"):
        read(nothing, [0, 0])


def test_the_seed_of_an_image_depends_on_its_position_and_the_runs_seed():
    seeds = {
        tuple(decoding.image_seed(recipe(seed=s), tf.constant(p, tf.int64)).numpy()) for s in (0, 1) for p in (0, 9)
    }
    assert len(seeds) == 4
