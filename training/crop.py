"""Inception's random resized crop, fused with decoding: of a JPEG, only the crop is decoded.

Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842, Sec. 6: a patch whose area is evenly distributed over
8 to 100 % of the picture's and whose aspect ratio lies between 3/4 and 4/3. What the paper leaves open is as in
torchvision and timm: the logarithm of the aspect ratio is evenly distributed, the patch is drawn up to ten times until
it fits, else a centre crop is taken.
Letters: H W grid, C channels; a picture as it comes is H0 W0. A box is (top, left, height, width) in pixels.
"""

import math

import numpy as np

from keras_vit import exif, preprocessing

TRIES = 10
SHRINKS = (1, 2, 4, 8)  # what the JPEG decoder can divide both sides by
KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}


def decode_and_crop(encoded, spec, recipe, seed):
    """An encoded picture -> uint8 (H, W, 3): a random box of it, resized (antialiased) to the spec's size.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where the box is then still as large as wanted. That changes values
    by 0.7 to 2.6 of 255 in the mean, bilinear instead of bicubic interpolation by 0.7 to 2.0 (measured on the two
    photographs of scikit-learn).

    Args:
        encoded: bytes of a JPEG, PNG, BMP or GIF (first frame), a scalar string.
        spec: gives the size; the box stands for the spec's resizing and centre crop.
        recipe: gives `scale`, `ratio` and `train_interpolation`.
        seed: two int64; the same seed gives the same box.
    """
    import tensorflow as tf

    draws = tf.random.stateless_uniform((TRIES + 1, 4), seed, alg="philox")

    def part_of_jpeg():
        return _decode_box(encoded, choose_box(tf.io.extract_jpeg_shape(encoded), recipe, draws[:TRIES]), spec.size)

    def part_of_whole():
        image = preprocessing.decode_image(encoded)
        top, left, height, width = tf.unstack(choose_box(tf.shape(image), recipe, draws[:TRIES]))
        return image[top : top + height, left : left + width]

    image = tf.ensure_shape(tf.cond(_is_upright_jpeg(encoded), part_of_jpeg, part_of_whole), (None, None, 3))
    if recipe.train_interpolation != "random":
        return resize(image, spec.size, recipe.train_interpolation)
    bilinear, bicubic = (lambda name=name: resize(image, spec.size, name) for name in KERNELS)
    return tf.cond(draws[TRIES, 0] < 0.5, bilinear, bicubic)


def choose_box(shape, recipe, draws):
    """The first box that fits into a picture, int32 (4,).

    Args:
        shape: int32, the picture's: H0, W0 and whatever follows.
        draws: float32 (tries, 4), uniform in [0, 1): area, aspect ratio, top and left of each try.
    """
    import tensorflow as tf

    whole = tf.cast(shape[:2], tf.float32)
    (least, most), (narrow, wide) = recipe.scale, recipe.ratio
    area = tf.reduce_prod(whole) * (least + (most - least) * draws[:, :1])
    aspect = math.log(narrow) + math.log(wide / narrow) * draws[:, 1:2]  # its logarithm
    sides = tf.round(tf.sqrt(area * tf.exp(aspect * [-1.0, 1.0])))  # tries 2
    corners = tf.floor((whole - sides + 1) * draws[:, 2:])
    fits = tf.reduce_all((sides <= whole) & (sides > 0), axis=1)
    central = tf.minimum(whole, tf.round(tf.reverse(whole, [0]) * [1 / narrow, wide]))
    first = tf.argmax(fits)
    drawn, central = tf.concat([corners[first], sides[first]], 0), tf.concat([(whole - central) // 2, central], 0)
    return tf.cast(tf.where(fits[first], drawn, central), tf.int32)


def resize(image, size, interpolation):
    """uint8 (H0, W0, 3) -> uint8 (H, W, 3), antialiased.

    One side at a time, the other side and the channels together as channels: what tf.image.resize computes in two to
    three times the time (measured from 300 x 400 to 224 x 224).
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


def _is_upright_jpeg(encoded):
    """Whether boxes of the file are boxes of the picture: a JPEG whose EXIF, if it has any, does not say otherwise."""
    import tensorflow as tf

    noted = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, exif.SEARCHED), r"\C*Exif\x00\x00\C*")
    upright = tf.cond(noted, lambda: tf.equal(exif.orientation(encoded), 1), lambda: True)
    return tf.io.is_jpeg(encoded) & upright


def _decode_box(encoded, box, size):
    """The box of a JPEG, shrunk while decoding as far as it stays as large as `size`.

    The shrunk box begins and ends on whole pixels of the shrunk picture: up to 7 pixels of the file beside the box.
    """
    import tensorflow as tf

    surplus = tf.reduce_min(box[2:] // np.array(size, "int32"))
    index = tf.reduce_sum(tf.cast(surplus >= np.array(SHRINKS[1:], "int32"), tf.int32))
    window = tf.maximum(box // tf.gather(np.array(SHRINKS, "int32"), index), (0, 0, 1, 1))

    def decode(shrink):
        return tf.image.decode_and_crop_jpeg(encoded, window, channels=3, ratio=shrink, dct_method="INTEGER_ACCURATE")

    return tf.switch_case(index, [lambda shrink=shrink: decode(shrink) for shrink in SHRINKS])
