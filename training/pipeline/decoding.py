"""From the indices of images to their pixels, inside the input pipeline; bad images are replaced.

An image is bad if Pillow cannot read it: what TensorFlow refuses is given to Pillow before it is replaced.

Letters: B batch, H W grid.
"""

import io

from keras_vit import preprocessing
from keras_vit.training.augmentation import augment, random_resized_crop

IMAGE_STREAM = 0x91C7  # separates the random draws of images from those of their order
TRIES = 10_000  # consecutive images tried as a replacement; if all of these are bad, the pipeline fails


def decoders(split, spec, recipe=None):
    """Build two functions (index of an image, its global position), int64 -> uint8 (H, W, 3).

    The second lets Pillow decode every image, the first only those that TensorFlow does not see as it does. Both call
    one graph, since it takes a second to make.

    Args:
        recipe: None prepares images as for evaluation; with a recipe that has a `scale`, each image is randomly
            cropped, by its global position.
    """
    import tensorflow as tf

    read = split.reader()

    @tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64)], autograph=False)
    def decode(encoded, position):
        if recipe is not None and recipe.scale is not None:
            return random_resized_crop.decode_and_crop(encoded, spec, recipe, image_seed(recipe, position))
        image = preprocessing.decode_image(encoded, with_pillow=True)
        return tf.cast(preprocessing.resize(image, spec), tf.uint8)

    return (
        lambda index, position: decode(read(index), position),
        lambda index, position: decode(_plain_png(read(index)), position),
    )


def augmenter(recipe):
    """Build a function (uint8 (H, W, 3), global position) -> the image with the recipe's per-image augmentation."""
    if recipe is None or not augment.changes_images(recipe):
        return lambda image, position: image
    return lambda image, position: augment.augment_image(image, recipe, image_seed(recipe, position))


def batch_reader(decode, decode_by_pillow, augment_image, quarantine, size):
    """Build a function (indices, positions), int64 (B,) -> (images uint8 (B, H, W, 3), indices of these images (B,)).

    A bad image is replaced by the next one that can be decoded, which is recorded in the quarantine.

    Args:
        decode, decode_by_pillow, augment_image: functions built by `decoders` and `augmenter`; an image is
            bad if both of the first fail.
        size: (H, W).
    """
    import tensorflow as tf

    decode = tf.function(decode, autograph=False)  # used in three places, traced once
    read_replacement = _replacement_reader(decode, decode_by_pillow, augment_image, quarantine, size)

    def read(indices, positions):
        # Only a dataset can catch errors. One for all images of a batch costs nothing measurable; one for each image
        # costs as much as half the decoding.
        images = tf.data.Dataset.from_tensor_slices((tf.range(tf.size(indices)), indices, positions))
        images = _parallel_map(images, lambda place, i, p: (decode(i, p), place, p)).ignore_errors()
        images = _parallel_map(images, lambda image, place, p: (augment_image(image, p), place))
        end = tf.data.Dataset.from_tensors((tf.zeros((*size, 3), tf.uint8), -1))  # so that the batch is never empty
        images, places = images.concatenate(end).batch(indices.shape[0] + 1).get_single_element()
        images, places = images[:-1], places[:-1]

        def fill():
            missing = tf.where(tf.reduce_all(tf.range(tf.size(indices))[:, None] != places, axis=1))[:, 0]
            replacements, replacing = tf.map_fn(
                lambda one: read_replacement(*one),
                (tf.gather(indices, missing), tf.gather(positions, missing)),
                fn_output_signature=(tf.TensorSpec((*size, 3), tf.uint8), tf.TensorSpec((), tf.int64)),
            )
            filled = tf.dynamic_stitch([places, tf.cast(missing, tf.int32)], [images, replacements])
            return filled, tf.tensor_scatter_nd_update(indices, missing[:, None], replacing)

        images, found = tf.cond(tf.size(places) == tf.size(indices), lambda: (images, indices), fill)
        return tf.ensure_shape(images, (*indices.shape, *size, 3)), tf.ensure_shape(found, indices.shape)

    return read


def image_seed(recipe, position):
    """The seed, two int64, of the random draws of the image at a global position."""
    import tensorflow as tf

    return tf.stack([tf.constant(recipe.seed ^ IMAGE_STREAM, tf.int64), position])


def _replacement_reader(decode, decode_by_pillow, augment_image, quarantine, size):
    """A function (index of a bad image, position) -> (pixels of the next good image, its index).

    The first that is tried is the image itself, by Pillow.
    """
    import tensorflow as tf

    total = len(quarantine.split)

    def read_replacement(index, position):
        def attempt(offset):
            candidate = (index + offset) % total
            return decode(candidate, position), candidate

        itself = tf.data.Dataset.range(1).map(lambda _: (decode_by_pillow(index, position), index)).ignore_errors()
        others = tf.data.Dataset.range(1, min(total, TRIES)).map(attempt).ignore_errors()
        failing = tf.data.Dataset.range(1).map(attempt)  # if none is good, this raises the image's own error
        image, found = itself.concatenate(others).concatenate(failing).take(1).get_single_element()
        found = tf.numpy_function(quarantine.record, [index, found], tf.int64, stateful=False)
        return tf.ensure_shape(augment_image(image, position), (*size, 3)), tf.ensure_shape(found, ())

    return read_replacement


def _plain_png(encoded):
    """An image as Pillow sees it, encoded anew so that TensorFlow sees it too; nothing of what Pillow cannot read."""
    import tensorflow as tf
    from PIL import Image

    def encode(content):
        try:
            image = Image.fromarray(preprocessing.read_image(content))
        except ValueError:
            return b""
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    return tf.ensure_shape(tf.numpy_function(encode, [encoded], tf.string, stateful=False), ())


def _parallel_map(dataset, function):
    import tensorflow as tf

    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
