"""From the numbers of pictures to their pixels, inside the input pipeline; a bad picture is replaced by another.

Letters: B batch, H W grid.
"""

from keras_vit import preprocessing
from keras_vit.training import augment, crop

PICTURE_STREAM = 0x91C7  # keeps the draws of pictures apart from those of the order
TRIES = 10_000  # pictures in a row that are bad before it is taken for something else


def decoder(part, spec, recipe=None):
    """A function (number of a picture, its global position), int64 -> uint8 (H, W, 3).

    Args:
        recipe: None prepares pictures as evaluation does; one with a `scale` gives each a random crop, which the
            position decides.
    """
    import tensorflow as tf

    read = part.reader()

    def decode(number, position):
        encoded = read(number)
        if recipe is not None and recipe.scale is not None:
            return crop.decode_and_crop(encoded, spec, recipe, seed_of(recipe, position))
        return tf.cast(preprocessing.resize(preprocessing.decode_image(encoded), spec), tf.uint8)

    return decode


def changer(recipe):
    """A function (uint8 (H, W, 3), global position) -> the same with what the recipe changes picture by picture."""
    if recipe is None or not augment.changes_pictures(recipe):
        return lambda image, position: image
    return lambda image, position: augment.augment_picture(image, recipe, seed_of(recipe, position))


def batch_reader(decode, change, quarantine, size):
    """A function (numbers, positions), int64 (B,) -> (images uint8 (B, H, W, 3), numbers of the pictures shown (B,)).

    The next picture that can be decoded is shown in place of a bad one, and the quarantine is told.

    Args:
        decode, change: as `decoder` and `changer` give them; what fails in `decode` is a bad picture.
        size: (H, W).
    """
    import tensorflow as tf

    decode = tf.function(decode, autograph=False)  # used in three places, traced once
    replacement = _replacement(decode, change, quarantine, size)

    def read(numbers, positions):
        # Nothing but a dataset catches errors. One for all pictures of a batch costs nothing that can be measured; one
        # for each costs as much as half the decoding.
        pictures = tf.data.Dataset.from_tensor_slices((tf.range(tf.size(numbers)), numbers, positions))
        pictures = _parallel(pictures, lambda place, n, p: (decode(n, p), place, p)).ignore_errors()
        pictures = _parallel(pictures, lambda image, place, p: (change(image, p), place))
        end = tf.data.Dataset.from_tensors((tf.zeros((*size, 3), tf.uint8), -1))  # so that there is always a batch
        images, places = pictures.concatenate(end).batch(numbers.shape[0] + 1).get_single_element()
        images, places = images[:-1], places[:-1]

        def fill():
            missing = tf.where(tf.reduce_all(tf.range(tf.size(numbers))[:, None] != places, axis=1))[:, 0]
            chosen = tf.gather(numbers, missing), tf.gather(positions, missing)
            instead, shown = tf.map_fn(
                lambda one: replacement(*one),
                chosen,
                fn_output_signature=(tf.TensorSpec((*size, 3), tf.uint8), tf.TensorSpec((), tf.int64)),
            )
            filled = tf.dynamic_stitch([places, tf.cast(missing, tf.int32)], [images, instead])
            return filled, tf.tensor_scatter_nd_update(numbers, missing[:, None], shown)

        images, shown = tf.cond(tf.size(places) == tf.size(numbers), lambda: (images, numbers), fill)
        return tf.ensure_shape(images, (*numbers.shape, *size, 3)), tf.ensure_shape(shown, numbers.shape)

    return read


def seed_of(recipe, position):
    """Two int64: what decides the draws of the picture at a global position."""
    import tensorflow as tf

    return tf.stack([tf.constant(recipe.seed ^ PICTURE_STREAM, tf.int64), position])


def _replacement(decode, change, quarantine, size):
    """A function (number of a bad picture, position) -> (the next good one's pixels, its number)."""
    import tensorflow as tf

    total = len(quarantine.part)

    def replacement(number, position):
        def attempt(later):
            candidate = (number + later) % total
            return decode(candidate, position), candidate

        attempts = tf.data.Dataset.range(min(total, TRIES)).map(attempt).ignore_errors()
        none_is_good = tf.data.Dataset.range(1).map(attempt)  # fails as the picture itself did
        image, shown = attempts.concatenate(none_is_good).take(1).get_single_element()
        shown = tf.numpy_function(quarantine.note, [number, shown], tf.int64, stateful=False)
        return tf.ensure_shape(change(image, position), (*size, 3)), tf.ensure_shape(shown, ())

    return replacement


def _parallel(dataset, function):
    import tensorflow as tf

    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
