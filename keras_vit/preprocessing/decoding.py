"""From encoded bytes to pixels in a TensorFlow graph, as `read_image` sees them, or not at all.

Letters: B batch, H W grid; an image as it comes is H0 W0 C.
"""

import numpy as np

from keras_vit.preprocessing import headers
from keras_vit.preprocessing.exif import turn_upright
from keras_vit.preprocessing.reading import read_image
from keras_vit.preprocessing.resizing import resize

REFUSED = "No image, or of a kind that TensorFlow does not see as Pillow does; save it as JPEG or PNG."


def decode_image(encoded, with_pillow=False):
    """Bytes of an image -> uint8 (H0, W0, 3), in TensorFlow: upright, without transparency.

    JPEG, PNG, WebP, plain BMP, and the first frame of a GIF. JPEG is decoded with the accurate transform, which gives
    Pillow's pixels exactly (TensorFlow's default is off by 1 of 255 on average).

    Args:
        encoded: string scalar.
        with_pillow: whether to read by Pillow, in Python, what TensorFlow does not see as Pillow does: rare kinds of
            these formats, and all others. Not for graphs that are saved.

    Raises:
        tf.errors.InvalidArgumentError: at run time, for a damaged image, and without Pillow for those.
    """
    return decode_oriented(encoded, headers.orientation(encoded), with_pillow)


def decode_oriented(encoded, orientation, with_pillow=False):
    """`decode_image` of an image of which `headers.orientation` is known."""
    import tensorflow as tf

    def jpeg():
        return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")

    def webp():  # of as many channels as it has: with alpha it cannot be decoded as three
        return tf.io.decode_image(encoded, channels=0, expand_animations=False)[..., :3]

    def other():
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)

    def seen_alike():
        is_webp = tf.strings.substr(encoded, 0, 4) == b"RIFF"
        image = tf.case([(tf.io.is_jpeg(encoded), jpeg), (is_webp, webp)], default=other)
        return turn_upright(tf.ensure_shape(image, [None, None, 3]), orientation)

    def not_alike():
        return _by_pillow(encoded) if with_pillow else tf.zeros([0, 0, 3], tf.uint8)

    image = tf.ensure_shape(tf.cond(orientation > 0, seen_alike, not_alike), [None, None, 3])
    with tf.control_dependencies([tf.debugging.Assert(tf.size(image) > 0, [REFUSED])]):
        return tf.identity(image)


def decode_and_resize(encoded, spec):
    """Encoded images, string (B,) -> float32 (B, H, W, 3), whole numbers in [0, 255].

    For data pipelines and serving graphs; it does not normalise.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):  # neither the decoders nor the antialiased resize exist for GPUs
        return tf.map_fn(
            lambda one: resize(decode_image(one), spec),
            encoded,
            fn_output_signature=tf.TensorSpec((*spec.size, 3), tf.float32),
        )


def _by_pillow(encoded):
    """`read_image` as an operation; (0, 0, 3) for what it cannot read."""
    import tensorflow as tf

    def read(content):
        try:
            return read_image(bytes(content))
        except ValueError:
            return np.zeros((0, 0, 3), "uint8")

    return tf.ensure_shape(tf.numpy_function(read, [encoded], tf.uint8, stateful=False), [None, None, 3])
