"""Decoding in a served graph: an image that cannot be decoded does not affect the others of its batch.

TensorFlow graphs have no try statement. A data set of one image that ignores errors, followed by a black image, has the
same effect; without the data set's own optimisations it costs less than half a millisecond per image.
A file of a few kilobytes can decompress to gigabytes. Every format has the size in pixels in its first bytes, and it is
checked before anything is decompressed.
"""

import functools

import numpy as np
import tensorflow as tf

from keras_vit.preprocessing import decode_image, resize

MAX_PIXELS = 2**30 // 12  # 89 million: about where Pillow warns of a decompression bomb
HEADER = 30  # bytes that contain the size


def decode_or_skip(encoded, spec):
    """Decode and prepare images.

    Args:
        encoded: string (B).
        spec: the model's preprocessing.

    Returns:
        (images float32 (B, H, W, 3) in [0, 255], bool (B)): whether each could be decoded. An image of more than
        MAX_PIXELS counts as one that cannot.
    """
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False

    def one(image):
        attempt = tf.data.Dataset.from_tensors(image)
        attempt = attempt.filter(lambda b: pixels(b) <= MAX_PIXELS)
        attempt = attempt.map(lambda b: (resize(decode_image(b), spec), True)).ignore_errors()
        stand_in = tf.data.Dataset.from_tensors((tf.zeros((*spec.size, 3)), False))
        return attempt.concatenate(stand_in).take(1).with_options(options).get_single_element()

    with tf.device("CPU:0"):
        result = (tf.TensorSpec((*spec.size, 3), tf.float32), tf.TensorSpec((), tf.bool))
        return tf.map_fn(one, encoded, fn_output_signature=result)


def pixels(encoded):
    """H0 x W0 in the header of a JPEG, PNG, GIF, BMP or WebP, float64; an arbitrary number for other content.

    Raises:
        tf.errors.InvalidArgumentError: at run time, for content that begins like a JPEG and has no size.
    """

    def other():
        header = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 0, HEADER), tf.uint8), tf.float64)
        header = tf.ensure_shape(tf.pad(header, [[0, HEADER - tf.size(header)]]), [HEADER])
        png = _number(header[16:20][::-1]) * _number(header[20:24][::-1])
        gif = _number(header[6:8]) * _number(header[8:10])
        height = _number(header[22:26])  # of a BMP; negative, modulo 2^32, if its rows run from the top
        bmp = _number(header[18:22]) * tf.minimum(height, 2.0**32 - height)
        sizes = [
            (header[0] == ord("G"), gif),
            (header[0] == ord("B"), bmp),
            (header[0] == ord("R"), _pixels_of_webp(header)),
        ]
        return functools.reduce(lambda otherwise, case: tf.where(*case, otherwise), sizes, png)

    def jpeg():
        height, width, _ = tf.unstack(tf.cast(tf.image.extract_jpeg_shape(encoded), tf.float64))
        return height * width

    return tf.cond(tf.io.is_jpeg(encoded), jpeg, other)


def _pixels_of_webp(header):
    """Of its first chunk (RFC 9649): VP8X has both sides less one in 24 bits each, VP8L in 14 bits, VP8 in 14 of 16."""
    extended = (_number(header[24:27]) + 1) * (_number(header[27:30]) + 1)
    lossy = tf.math.mod(_number(header[26:28]), 2**14) * tf.math.mod(_number(header[28:30]), 2**14)
    packed = _number(header[21:25])
    lossless = (tf.math.mod(packed, 2**14) + 1) * (tf.math.mod(packed // 2**14, 2**14) + 1)
    return tf.where(header[15] == ord("X"), extended, tf.where(header[15] == ord("L"), lossless, lossy))


def _number(digits):
    """The integer in bytes of little-endian order."""
    return tf.reduce_sum(digits * 256.0 ** np.arange(digits.shape[0]))
