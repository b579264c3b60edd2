"""From the number of a picture to its pixels, inside the input pipeline; a bad picture is replaced by another.

Letters: H W grid.
"""

from keras_vit import preprocessing
from keras_vit.training import crop

PICTURE_STREAM = 0x91C7  # keeps the draws of pictures apart from those of the order


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


def replacing(prepared, recipe=None):
    """A function (number, position) -> (uint8 (H, W, 3), number of the picture shown): a `decoder` that does not fail.

    The next picture that can be decoded is shown in place of a bad one, and the quarantine is told.
    """
    import tensorflow as tf

    decode, total = decoder(prepared.part, prepared.spec, recipe), len(prepared.part)

    def first_good(number, position):
        def attempt(later):
            candidate = (number + later) % total
            return decode(candidate, position), candidate

        # Nothing but a dataset catches errors. This one is lazy: it ends with the first picture that can be decoded.
        attempts = tf.data.Dataset.range(total).map(attempt).ignore_errors()
        none_is_good = tf.data.Dataset.range(1).map(attempt)  # fails as the picture itself did
        return attempts.concatenate(none_is_good).take(1).get_single_element()

    def note(number, shown):
        return tf.numpy_function(prepared.quarantine.note, [number, shown], tf.int64, stateful=False)

    def read(number, position):
        image, shown = first_good(number, position)
        shown = tf.cond(shown == number, lambda: shown, lambda: note(number, shown))
        return image, tf.ensure_shape(shown, ())

    return read


def seed_of(recipe, position):
    """Two int64: what decides the draws of the picture at a global position."""
    import tensorflow as tf

    return tf.stack([tf.constant(recipe.seed ^ PICTURE_STREAM, tf.int64), position])
