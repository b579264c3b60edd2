"""Image operations as PIL defines them, on uint8 (H, W, 3): the operations of RandAugment and colour jitter.

Operations on single values are tables of 256 entries, as in PIL. Written for XLA, which fuses each operation into one
loop: ten times as fast as TensorFlow's table lookup of bytes, three times as fast as its projective transformation.
Letters: H W grid, known when the graph is built. Points are (x, y) in pixels, x to the right and y down.
"""

import math

import numpy as np

VALUES = np.arange(256, dtype="float32")
GREY = np.array([19595, 38470, 7471], "float32") / 65536  # of R, G, B: PIL's luma, ITU-R 601-2 in fixed point
FILL = np.array([124, 116, 104], "float32")  # colour beyond the borders: the mean of ImageNet


def auto_contrast(image):
    """Stretch every channel so that its smallest value becomes 0 and its largest 255."""
    import tensorflow as tf

    pixels = tf.cast(tf.reshape(image, (-1, 3)), tf.int32)
    low, high = (tf.cast(extreme(pixels, axis=0), tf.float64) for extreme in (tf.reduce_min, tf.reduce_max))
    scale = (255 / tf.maximum(high - low, 1))[:, None]
    table = tf.cast(tf.floor(np.arange(256) * scale - low[:, None] * scale), tf.float32)
    return _lookup(image, _bytes(tf.where((high > low)[:, None], table, VALUES)))


def equalize(image):
    """Equalize the histogram of every channel."""
    import tensorflow as tf

    entries = tf.reshape(_table_indices(image), [-1])
    counts = tf.reshape(tf.math.unsorted_segment_sum(tf.ones_like(entries), entries, 768), (3, 256))
    below = tf.cumsum(counts, axis=1, exclusive=True)
    step = tf.reduce_max(tf.where(counts > 0, below, 0), axis=1, keepdims=True) // 255  # of all values but the largest
    table = (below + step // 2) // tf.maximum(step, 1)
    return _lookup(image, _bytes(tf.where(step > 0, tf.cast(table, tf.float32), VALUES)))


def invert(image):
    """Subtract every value from 255."""
    return 255 - image


def posterize(image, bits):
    """Keep the upper `bits` of the 8 bits of every value."""
    import tensorflow as tf

    return tf.bitwise.bitwise_and(image, tf.cast(256 - tf.bitwise.left_shift(1, 8 - bits), tf.uint8))


def solarize(image, threshold):
    """Invert the values from `threshold`, 0 to 256, upwards."""
    import tensorflow as tf

    return tf.where(tf.cast(image, tf.int32) < threshold, image, 255 - image)


def solarize_add(image, amount):
    """Add `amount`, 0 to 128, to the values below 128."""
    import tensorflow as tf

    return tf.where(image < 128, image + tf.cast(amount, tf.uint8), image)


def color(image, factor):
    """Scale the saturation: factor 0 gives the grey image, 1 the image itself."""
    import tensorflow as tf

    pixels = tf.cast(image, tf.float32)
    red, green, blue = tf.unstack(pixels, axis=-1)
    grey = tf.floor(GREY[0] * red + GREY[1] * green + GREY[2] * blue + 0.5)[..., None]
    return _bytes(grey + factor * (pixels - grey))


def contrast(image, factor):
    """Scale the contrast: factor 0 gives the mean of the grey image everywhere, 1 the image itself."""
    import tensorflow as tf

    means = tf.reduce_mean(tf.cast(tf.reshape(image, (-1, 3)), tf.float32), axis=0)
    mean = tf.floor(tf.reduce_sum(means * GREY) + 0.5)
    return _bytes(mean + factor * (tf.cast(image, tf.float32) - mean))


def brightness(image, factor):
    """Scale the brightness: factor 0 gives black, 1 the image itself."""
    import tensorflow as tf

    return _bytes(factor * tf.cast(image, tf.float32))


def sharpness(image, factor):
    """Scale the sharpness: factor 0 gives the image smoothed by [1 1 1; 1 5 1; 1 1 1] / 13, 1 the image itself.

    The outermost pixels are unchanged.
    """
    import tensorflow as tf

    pixels = tf.cast(image, tf.int32)
    inner, columns = pixels[1:-1, 1:-1], pixels[:-2] + pixels[1:-1] + pixels[2:]
    total = columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:] + 4 * inner
    inner, smooth = tf.cast(inner, tf.float32), tf.floor(tf.cast(total, tf.float32) / 13 + 0.5)
    sharp = _bytes(smooth + factor * (inner - smooth))
    rows = tf.concat([image[1:-1, :1], sharp, image[1:-1, -1:]], axis=1)
    return tf.concat([image[:1], rows, image[-1:]], axis=0)


def rotate(image, degrees):
    """Rotate about the centre, counterclockwise."""
    import tensorflow as tf

    height, width = image.shape[:2]
    c, s = tf.cos(degrees * (math.pi / 180)), tf.sin(degrees * (math.pi / 180))
    x, y = width / 2, height / 2
    return _resample(image, (c, -s, x - c * x + s * y), (s, c, y - s * x - c * y))


def shear_x(image, factor):
    """Shift every row to the left by factor times its distance from the top."""
    return _resample(image, (1, factor, 0), (0, 1, 0))


def shear_y(image, factor):
    """Shift every column up by factor times its distance from the left."""
    return _resample(image, (1, 0, 0), (factor, 1, 0))


def translate_x(image, fraction):
    """Shift to the left by a fraction of the width."""
    return _resample(image, (1, 0, fraction * image.shape[1]), (0, 1, 0))


def translate_y(image, fraction):
    """Shift up by a fraction of the height."""
    return _resample(image, (1, 0, 0), (0, 1, fraction * image.shape[0]))


def _resample(image, row_x, row_y):
    """Resample bilinearly: output point p = (x, y, 1) comes from (row_x . p, row_y . p). Pixel i covers [i, i + 1]."""
    import tensorflow as tf

    height, width = image.shape[:2]
    x, y = (np.arange(side, dtype="float32") + 0.5 for side in (width, height))
    from_x, from_y = (a * x + b * y[:, None] + c for a, b, c in (row_x, row_y))
    inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    left, u = _interpolation(from_x, width)
    top, v = _interpolation(from_y, height)
    pixels = tf.pad(tf.reshape(image, [-1]), ((0, 3 * width + 3),))  # beyond the last: weight 0
    first = 3 * (width * top + left)[..., None] + np.arange(3)

    def neighbour(down, right):
        return tf.cast(tf.gather(pixels, first + 3 * (width * down + right)), tf.float32)

    upper = neighbour(0, 0) + u * (neighbour(0, 1) - neighbour(0, 0))
    lower = neighbour(1, 0) + u * (neighbour(1, 1) - neighbour(1, 0))
    return _bytes(tf.where(inside[..., None], upper + v * (lower - upper), FILL))


def _interpolation(position, length):
    """Index of the pixel whose centre precedes a position, and the weight of the next pixel, with a channel axis."""
    import tensorflow as tf

    centre = tf.clip_by_value(position - 0.5, 0.0, length - 1.0)
    before = tf.cast(centre, tf.int32)
    return before, (centre - tf.cast(before, tf.float32))[..., None]


def _lookup(image, table):
    """The entries of a table (3, 256) for the image's channels and values."""
    import tensorflow as tf

    return tf.gather(tf.reshape(table, [-1]), _table_indices(image))


def _table_indices(image):
    """Flat indices of the image's values into a table (3, 256)."""
    import tensorflow as tf

    return tf.cast(image, tf.int32) + np.array([0, 256, 512], "int32")


def _bytes(pixels):
    """Float to uint8: clipped to 0 ... 255 and rounded down, as PIL does when it blends."""
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(pixels, 0.0, 255.0), tf.uint8)
