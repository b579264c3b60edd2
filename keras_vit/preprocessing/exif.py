"""The EXIF orientation of a JPEG, read inside a TensorFlow graph.

A phone stores the sensor's rows and, as the EXIF orientation, how to turn them. TensorFlow's decoder ignores it, so a
served model would see such an image lying on its side. The orientation is entry 0x0112 of the first image directory
(IFD0) of a TIFF header (TIFF 6.0, Sec. 2), which follows the bytes "Exif", 0, 0 near the start of the file.
"""

SEARCHED = 4096  # bytes at the start of the file, where EXIF and its first directory are
MARKER = (0x45, 0x78, 0x69, 0x66, 0, 0)  # "Exif\0\0"
MOST_ENTRIES = 64  # of the directory; cameras write about ten


def orientation(encoded):
    """Bytes of a JPEG (string scalar) -> int32 scalar in 1 ... 8; 1, upright, where none is stored."""
    import tensorflow as tf

    data = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 0, SEARCHED), tf.uint8), tf.int32)
    data = tf.pad(data, [[0, 16 * MOST_ENTRIES]])  # so that reading past the end gives zeros
    found = tf.ones_like(data[: 1 - len(MARKER)], tf.bool)
    for place, byte in enumerate(MARKER):
        end = tf.size(data) - len(MARKER) + 1 + place
        found &= data[place:end] == byte
    tiff = tf.cast(tf.argmax(found, output_type=tf.int32), tf.int32) + len(MARKER)
    value = _entry_of_directory(data, tiff, 0x0112)
    valid = tf.reduce_any(found) & (value >= 1) & (value <= 8)
    return tf.where(valid, value, 1)


def _entry_of_directory(data, tiff, tag):
    """The 16-bit value of `tag` in IFD0 of the TIFF header at `tiff`, 0 if it is missing."""
    import tensorflow as tf

    little = data[tiff] == ord("I")  # "II": the low byte first; "MM": the high byte first

    def number(position):  # 16 bits
        first = tf.gather(data, tf.clip_by_value(position, 0, tf.size(data) - 2))
        second = tf.gather(data, tf.clip_by_value(position, 0, tf.size(data) - 2) + 1)
        return tf.where(little, first + 256 * second, 256 * first + second)

    directory = tiff + number(tf.where(little, tiff + 4, tiff + 6))  # the offset's lower 16 bits
    entries = tf.range(MOST_ENTRIES)
    positions = directory + 2 + 12 * entries  # each: tag, type, count, value
    matches = (number(positions) == tag) & (entries < number(directory))
    return tf.reduce_max(tf.where(matches, number(positions + 8), 0))


def turn_upright(image, orientation):
    """Undo an EXIF orientation: (H0, W0, C) -> the same, or (W0, H0, C) for orientations 5 to 8."""
    import tensorflow as tf

    turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    flip_rows = _one_of(orientation, (3, 4, 7, 8))
    flip_columns = _one_of(orientation, (2, 3, 6, 7))
    turned = tf.cond(flip_rows, lambda: tf.reverse(turned, [0]), lambda: turned)
    return tf.cond(flip_columns, lambda: tf.reverse(turned, [1]), lambda: turned)


def _one_of(value, numbers):
    import tensorflow as tf

    return tf.reduce_any(value == tf.constant(numbers))
