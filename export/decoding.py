"""Encoded pictures in a served graph: one that cannot be decoded leaves the others of its batch alone.

A graph has no try. A data set of one picture whose errors are ignored, followed by a black stand-in, is one; without
the data set's own optimisations it costs less than half a millisecond per picture.
A file of a few kilobytes can unpack to gigabytes. Its size in pixels stands in the first bytes of every format, and
is read before anything is unpacked.
"""

import numpy as np
import tensorflow as tf

from keras_vit.preprocessing import decode_image, resize

MAX_PIXELS = 2**30 // 12  # 89 million; where PIL, too, begins to suspect a decompression bomb
HEADER = 26  # bytes, up to the last one that tells a size


def decode_or_skip(encoded, spec):
    """Encoded pictures (B) -> images (B, H, W, 3) in [0, 255], and bool (B): whether each could be decoded.

    A picture of more than MAX_PIXELS counts as one that cannot.
    """
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False

    def one(picture):
        attempt = tf.data.Dataset.from_tensors(picture)
        attempt = attempt.filter(lambda b: pixels(b) <= MAX_PIXELS)
        attempt = attempt.map(lambda b: (resize(decode_image(b), spec), True)).ignore_errors()
        stand_in = tf.data.Dataset.from_tensors((tf.zeros((*spec.size, 3)), False))
        return attempt.concatenate(stand_in).take(1).with_options(options).get_single_element()

    with tf.device("CPU:0"):
        result = (tf.TensorSpec((*spec.size, 3), tf.float32), tf.TensorSpec((), tf.bool))
        return tf.map_fn(one, encoded, fn_output_signature=result)


def pixels(encoded):
    """H0 x W0 of a JPEG, PNG, GIF or BMP as its header has it, a float64 scalar; of anything else, some number.

    Raises: tf.errors.InvalidArgumentError when run, for what begins as a JPEG and has no size.
    """

    def other():
        header = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 0, HEADER), tf.uint8), tf.float64)
        header = tf.ensure_shape(tf.pad(header, [[0, HEADER - tf.size(header)]]), [HEADER])
        png = _number(header[16:20][::-1]) * _number(header[20:24][::-1])
        gif = _number(header[6:8]) * _number(header[8:10])
        height = _number(header[22:26])  # of a BMP; below zero, modulo 2^32, where its first row is the top one
        bmp = _number(header[18:22]) * tf.minimum(height, 2.0**32 - height)
        return tf.where(header[0] == ord("G"), gif, tf.where(header[0] == ord("B"), bmp, png))

    def jpeg():
        height, width, _ = tf.unstack(tf.cast(tf.image.extract_jpeg_shape(encoded), tf.float64))
        return height * width

    return tf.cond(tf.io.is_jpeg(encoded), jpeg, other)


def _number(digits):
    """The whole number that bytes stand for, the least significant one first."""
    return tf.reduce_sum(digits * 256.0 ** np.arange(digits.shape[0]))
