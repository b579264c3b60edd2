"""Random affine transformations of a batch of images: shift, rotation, zoom and shear in one resampling.

Letters: B batch, H W grid, C channels. Points are (x, y, 1) in pixels, x to the right and y down.
"""

import math

DRAWS = 5
_FILL = {"reflect": "REFLECT", "nearest": "NEAREST", "black": "CONSTANT"}


def is_enabled(recipe):
    """Whether the recipe transforms images."""
    return bool(recipe.shift or recipe.rotate or recipe.zoom or recipe.shear)


def transform(images, draws, recipe):
    """Shift, rotate, zoom and shear each image within the limits of the recipe; bilinear.

    Args:
        images: float32 (B, H, W, C).
        draws: float32 (B, DRAWS), uniform in [-1, 1): shift in x and y, rotation, zoom, shear.
    Returns:
        As `images`.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    transforms = matrices(draws, recipe, height, width)
    transformed = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.reshape(transforms, (-1, 9))[:, :8],
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=_FILL[recipe.fill],
    )
    return tf.ensure_shape(transformed, images.shape)


def matrices(draws, recipe, height, width):
    """Matrices (B, 3, 3) that map a point of the output image to its point in the input image."""
    import tensorflow as tf

    shift_x, shift_y, rotate, zoom, shear = tf.unstack(draws, axis=1)
    zero, one = tf.zeros_like(zoom), tf.ones_like(zoom)

    def matrix(*rows):
        return tf.reshape(tf.stack(rows, axis=1), (-1, 3, 3))

    def translation(x, y):
        return matrix(one, zero, x * one, zero, one, y * one, zero, zero, one)

    angle = rotate * math.radians(recipe.rotate)
    slope = tf.tan(shear * math.radians(recipe.shear))
    scale = 1 / (1 + zoom * recipe.zoom)
    x, y = (width - 1) / 2, (height - 1) / 2
    c, s = tf.cos(angle), tf.sin(angle)
    rotation = matrix(c, -s, zero, s, c, zero, zero, zero, one)
    shearing = matrix(one, slope, zero, zero, one, zero, zero, zero, one)
    scaling = matrix(scale, zero, zero, zero, scale, zero, zero, zero, one)
    shift = translation(-x + shift_x * recipe.shift * width, -y + shift_y * recipe.shift * height)
    return translation(x, y) @ rotation @ shearing @ scaling @ shift
