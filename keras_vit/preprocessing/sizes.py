"""The size of an image from the first bytes of its file, before anything is decompressed; TensorFlow, in graphs."""

import functools

import numpy as np

from keras_vit.system import limits

HEADER = 30  # bytes that contain the size


def fits(encoded):
    """Whether an image is within the limits, a bool scalar; arbitrary for what is no JPEG, PNG, GIF, BMP or WebP.

    Raises:
        tf.errors.InvalidArgumentError: at run time, for content that begins like a JPEG and has no size.
    """
    import tensorflow as tf

    return _within(*tf.cond(tf.io.is_jpeg(encoded), lambda: _of_jpeg(encoded), lambda: _of_others(encoded)))


def jpeg_fits(shape):
    """The same for a JPEG, given what `tf.io.extract_jpeg_shape` says of it."""
    import tensorflow as tf

    return _within(*tf.unstack(tf.cast(shape[:2], tf.float64)))


def png_fits(encoded):
    """The same for the bytes of a PNG (W3C, Sec. 11.2.1: width and height follow 16 bytes, of high order first)."""
    import tensorflow as tf

    sides = tf.strings.substr(encoded, tf.minimum(16, tf.strings.length(encoded)), 8) + b"\0" * 8
    sides = tf.cast(tf.reshape(tf.io.decode_raw(sides, tf.uint8)[:8], [2, 4]), tf.float64)
    width, height = tf.unstack(tf.linalg.matvec(sides, 256.0 ** np.arange(4)[::-1]))
    return _within(height, width)


def _within(height, width):
    import tensorflow as tf

    return (height * width <= limits.max_pixels()) & (tf.maximum(height, width) <= limits.MAX_SIDE)


def _of_jpeg(encoded):
    import tensorflow as tf

    return tuple(tf.unstack(tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.float64)))


def _of_others(encoded):
    """(height, width), float64, of the format that the first byte tells."""
    import tensorflow as tf

    header = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 0, HEADER), tf.uint8), tf.float64)
    header = tf.ensure_shape(tf.pad(header, [[0, HEADER - tf.size(header)]]), [HEADER])
    png = _number(header[20:24][::-1]), _number(header[16:20][::-1])
    gif = _number(header[8:10]), _number(header[6:8])
    height = _number(header[22:26])  # of a BMP; negative, modulo 2^32, if its rows run from the top
    bmp = tf.minimum(height, 2.0**32 - height), _number(header[18:22])
    cases = [(header[0] == ord(letter), size) for letter, size in (("G", gif), ("B", bmp), ("R", _of_webp(header)))]
    sides = zip(png, *(size for _, size in cases))
    return tuple(
        functools.reduce(lambda otherwise, case: tf.where(*case, otherwise), zip([c for c, _ in cases], others), first)
        for first, *others in sides
    )


def _of_webp(header):
    """Of its first chunk (RFC 9649): VP8X has both sides less one in 24 bits each, VP8L in 14 bits, VP8 in 14 of 16."""
    import tensorflow as tf

    packed = _number(header[21:25])
    extended = _number(header[27:30]) + 1, _number(header[24:27]) + 1
    lossless = tf.math.mod(packed // 2**14, 2**14) + 1, tf.math.mod(packed, 2**14) + 1
    lossy = tf.math.mod(_number(header[28:30]), 2**14), tf.math.mod(_number(header[26:28]), 2**14)
    return tuple(
        tf.where(header[15] == ord("X"), x, tf.where(header[15] == ord("L"), l, v))
        for x, l, v in zip(extended, lossless, lossy)
    )


def _number(digits):
    """The integer in bytes of little-endian order."""
    import tensorflow as tf

    return tf.reduce_sum(digits * 256.0 ** np.arange(digits.shape[0]))
