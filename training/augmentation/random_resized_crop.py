"""Inception's random resized crop, fused with decoding: of a JPEG, only the crop is decoded.

Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842, Sec. 6: a patch whose area is uniform over 8 to 100 %
of the image's and whose aspect ratio lies between 3/4 and 4/3. What the paper leaves open is as in torchvision and
timm: the logarithm of the aspect ratio is uniform; the patch is drawn up to ten times until it fits; if none fits, a
centre crop is taken.
Letters: H W grid of the result, H0 W0 of the image before cropping. A box is (top, left, height, width) in pixels.
"""

import math

import numpy as np

from keras_vit.preprocessing import headers
from keras_vit.preprocessing.decoding import decode_oriented

TRIES = 10
SCALES = (1, 2, 4, 8)  # by which the JPEG decoder can divide both sides
KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}


def decode_and_crop(encoded, spec, recipe, seed):
    """Decode a random box of an image and resize it (antialiased) to the spec's size.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if the box is then still at least as large as the result. On
    average, this changes values by 0.7 to 2.6 of 255; bilinear instead of bicubic interpolation changes them by 0.7 to
    2.0 (measured on the two photographs of scikit-learn).

    Args:
        encoded: bytes of an image, a scalar string.
        spec: preprocessing.Spec that sets the size; the box replaces its resizing and centre crop.
        recipe: sets `scale`, `ratio` and `train_interpolation`.
        seed: two int64; the same seed gives the same box.
    Returns:
        uint8 (H, W, 3).
    """
    import tensorflow as tf

    draws = tf.random.stateless_uniform((TRIES + 1, 4), seed, alg="philox")

    def from_jpeg():
        return _decode_box(encoded, choose_box(tf.io.extract_jpeg_shape(encoded), recipe, draws[:TRIES]), spec.size)

    def from_decoded():
        image = decode_oriented(encoded, orientation, with_pillow=True)
        top, left, height, width = tf.unstack(choose_box(tf.shape(image), recipe, draws[:TRIES]))
        return image[top : top + height, left : left + width]

    orientation = headers.orientation(encoded)
    upright_jpeg = tf.io.is_jpeg(encoded) & (orientation == 1)  # a box of the image is one of the file
    image = tf.ensure_shape(tf.cond(upright_jpeg, from_jpeg, from_decoded), (None, None, 3))
    if recipe.train_interpolation != "random":
        return resize(image, spec.size, recipe.train_interpolation)
    bilinear, bicubic = (lambda name=name: resize(image, spec.size, name) for name in KERNELS)
    return tf.cond(draws[TRIES, 0] < 0.5, bilinear, bicubic)


def choose_box(shape, recipe, draws):
    """Choose the first box that fits into an image, or a centre crop if none fits.

    Args:
        shape: int32, shape of the image: H0, W0 and any further dimensions.
        draws: float32 (tries, 4), uniform in [0, 1): area, aspect ratio, top and left of each try.
    Returns:
        int32 (4,).
    """
    import tensorflow as tf

    whole = tf.cast(shape[:2], tf.float32)
    (smallest, largest), (narrow, wide) = recipe.scale, recipe.ratio
    area = tf.reduce_prod(whole) * (smallest + (largest - smallest) * draws[:, :1])
    log_aspect = math.log(narrow) + math.log(wide / narrow) * draws[:, 1:2]
    sides = tf.round(tf.sqrt(area * tf.exp(log_aspect * [-1.0, 1.0])))  # tries 2
    corners = tf.floor((whole - sides + 1) * draws[:, 2:])
    fits = tf.reduce_all((sides <= whole) & (sides > 0), axis=1)
    central = tf.minimum(whole, tf.round(tf.reverse(whole, [0]) * [1 / narrow, wide]))
    first = tf.argmax(fits)
    drawn, central = tf.concat([corners[first], sides[first]], 0), tf.concat([(whole - central) // 2, central], 0)
    return tf.cast(tf.where(fits[first], drawn, central), tf.int32)


def resize(image, size, interpolation):
    """Resize uint8 (H0, W0, 3) to uint8 (H, W, 3), antialiased.

    One side at a time, with the other side and the channels merged. The result is that of tf.image.resize, which takes
    two to three times as long (measured from 300 x 400 to 224 x 224).
    """
    import tensorflow as tf

    for side in size:
        length, columns = tf.unstack(tf.shape(image)[:2])
        image = tf.raw_ops.ScaleAndTranslate(
            images=tf.reshape(image, [1, length, 1, 3 * columns]),
            size=(side, 1),
            scale=tf.stack([side / tf.cast(length, tf.float32), 1.0]),
            translation=(0.0, 0.0),
            kernel_type=KERNELS[interpolation],
            antialias=True,
        )
        image = tf.transpose(tf.reshape(image, [side, columns, 3]), (1, 0, 2))
    if interpolation == "bicubic":  # overshoots at edges
        image = tf.clip_by_value(image, 0.0, 255.0)
    return tf.ensure_shape(tf.cast(image + 0.5, tf.uint8), (*size, 3))


def _decode_box(encoded, box, size):
    """Decode the box of a JPEG at the smallest scale at which it is at least as large as `size`.

    The scaled box starts and ends on whole pixels of the scaled image, up to 7 pixels of the file from the box.
    """
    import tensorflow as tf

    ratio = tf.reduce_min(box[2:] // np.array(size, "int32"))
    index = tf.reduce_sum(tf.cast(ratio >= np.array(SCALES[1:], "int32"), tf.int32))
    window = tf.maximum(box // tf.gather(np.array(SCALES, "int32"), index), (0, 0, 1, 1))

    def decode(scale):
        return tf.image.decode_and_crop_jpeg(encoded, window, channels=3, ratio=scale, dct_method="INTEGER_ACCURATE")

    return tf.switch_case(index, [lambda scale=scale: decode(scale) for scale in SCALES])
