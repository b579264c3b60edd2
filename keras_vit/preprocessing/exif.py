"""The orientation note of an image, read inside a TensorFlow graph as Pillow reads it.

A phone stores the sensor's rows and, as the EXIF orientation, how to turn them. TensorFlow's decoders ignore it, so a
served model would see such an image lying on its side. The orientation is entry 0x0112 of the first image directory
(IFD0) of a TIFF header (TIFF 6.0, Sec. 2). Where EXIF has none, Pillow takes it from the XMP text.

An orientation is an int32 scalar, 1 to 8; 0 stands for "only Pillow can tell": the block is damaged or unusual.
"""

import numpy as np

ORIENTATION = 0x0112
SHORT, LONG = 3, 4  # types of an entry, 2 and 4 bytes
TYPE_BYTES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4)  # by type; 0 is none
IN_XMP = r'\C*?tiff:Orientation(?:="|>)([0-9])\C*'  # as Pillow searches it


def orientation_in_tiff(block):
    """The orientation in an EXIF block, which begins with its TIFF header; a string scalar.

    Returns:
        The orientation; -1 if the block is in order and has none; 0 if it is not in order, or the entry is of a type
        other than SHORT and LONG.
    """
    import tensorflow as tf

    size = tf.strings.length(block)
    data = tf.cast(tf.io.decode_raw(block + b"\0" * 16, tf.uint8), tf.int32)  # reading past the end gives zeros
    little, big = tf.strings.regex_full_match(block, r"II\*\x00\C*"), tf.strings.regex_full_match(block, r"MM\x00\*\C*")

    def number(positions, length):  # of 2 or 4 bytes; float64, which holds any of them
        digits = tf.gather(data, positions[:, None] + tf.range(length))
        digits = tf.where(little, tf.reverse(digits, [1]), digits)
        return tf.reduce_sum(tf.cast(digits, tf.float64) * 256.0 ** np.arange(length - 1.0, -1.0, -1.0), axis=1)

    directory = number(tf.constant([4]), 4)[0]
    has_directory = (little | big) & (directory >= 8) & (directory + 2 <= tf.cast(size, tf.float64))
    directory = tf.where(has_directory, tf.cast(directory, tf.int32), 0)
    entries = tf.cast(number(directory[None], 2)[0], tf.int32)
    complete = has_directory & (directory + 2 + 12 * entries <= size)
    positions = directory + 2 + 12 * tf.range(tf.where(complete, entries, 0))  # each: tag, type, count, value
    tag, kind, count = number(positions, 2), number(positions + 2, 2), number(positions + 4, 4)
    length = count * tf.gather(
        tf.constant(TYPE_BYTES, tf.float64), tf.cast(tf.minimum(kind, 0.0 + len(TYPE_BYTES) - 1), tf.int32)
    )
    value = tf.where(kind == SHORT, number(positions + 8, 2), number(positions + 8, 4))
    inside = (length <= 4) | (number(positions + 8, 4) + length <= tf.cast(size, tf.float64))
    mine = tag == ORIENTATION
    plain = (count == 1) & ((kind == SHORT) | (kind == LONG))
    in_order = complete & tf.reduce_all(inside & (plain | ~mine)) & (tf.reduce_sum(tf.cast(mine, tf.int32)) <= 1)
    found = tf.cast(tf.reduce_sum(tf.where(mine, tf.minimum(value, 9.0), 0.0)), tf.int32)
    return tf.where(in_order, tf.where(tf.reduce_any(mine), _valid(found), -1), 0)


def orientation_in_xmp(text):
    """The orientation in an XMP text, a string scalar; 1 where there is none."""
    import tensorflow as tf

    digit = tf.strings.regex_replace(text, IN_XMP, r"\1", replace_global=False)
    found = tf.strings.regex_full_match(text, IN_XMP)
    return tf.cond(found, lambda: _valid(tf.strings.to_number(digit, tf.int32)), lambda: 1)


def turn_upright(image, orientation):
    """Undo an orientation: (H0, W0, C) -> the same, or (W0, H0, C) for orientations 5 to 8."""
    import tensorflow as tf

    turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    flip_rows = _one_of(orientation, (3, 4, 7, 8))
    flip_columns = _one_of(orientation, (2, 3, 6, 7))
    turned = tf.cond(flip_rows, lambda: tf.reverse(turned, [0]), lambda: turned)
    return tf.cond(flip_columns, lambda: tf.reverse(turned, [1]), lambda: turned)


def _valid(value):
    """The value if it is an orientation, else 1: Pillow leaves such images as they are."""
    import tensorflow as tf

    return tf.where((value >= 1) & (value <= 8), value, 1)


def _one_of(value, numbers):
    import tensorflow as tf

    return tf.reduce_any(value == tf.constant(numbers))
