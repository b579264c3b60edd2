"""Random affine changes of a batch of pictures, inside the input pipeline; one draw per picture, from a seed.

Letters: B batch, H W grid, C channels. Points are (x, y, 1) in pixels, x to the right and y down.
"""

import math

_FILL = {"reflect": "REFLECT", "nearest": "NEAREST", "black": "CONSTANT"}


def augment(images, recipe, seed):
    """Shift, rotate, zoom, shear and flip each picture as `recipe` allows; all in one bilinear resampling.

    Args:
        images: float32 (B, H, W, C) in [0, 255].
        seed: two integers; the same seed gives the same pictures.
    Output: as the input; the input itself if the recipe asks for no change.
    """
    import tensorflow as tf

    if not changes(recipe):
        return images
    height, width = images.shape[1:3]
    draws = tf.random.stateless_uniform((tf.shape(images)[0], 6), seed, -1.0, 1.0, alg="philox")
    matrices = affine(draws, recipe, height, width)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.reshape(matrices, (-1, 9))[:, :8],
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=_FILL[recipe.fill],
    )
    return tf.ensure_shape(moved, images.shape)


def changes_pictures(recipe):
    """Whether the recipe changes pictures one by one, beyond crop and flip: colour jitter, RandAugment."""
    return bool(recipe.color_jitter or recipe.aa)


def augment_picture(image, recipe, seed):
    """Colour jitter or RandAugment, as the recipe says.

    Args:
        image: uint8 (H, W, 3).
        seed: two int64; the same seed gives the same picture.
    Output: as the input.
    """
    return image


def augment_batch(images, labels, recipe, spec, step, offset, batch_size):
    """Move, flip, normalise, erase and mix a share of the pictures of a step.

    Args:
        images: uint8 or float32 (B, H, W, 3) in [0, 255]: pictures offset ... offset + B of the step's batch.
        labels: int32 (B,).
        spec: the preprocessing that normalises.
        step: int64, the number of the step; with recipe.seed it decides all draws.
        batch_size: pictures of the whole batch; the draws are made for all of them, so that a batch divided
            otherwise holds the same pictures.
    Output: the training batch (images float32 (B, H, W, 3) normalised, labels (B,), partners int32 (B,), weights
        float32 (B,)): partners are the labels of the pictures mixed in, weights the shares of the own labels.
    """
    import tensorflow as tf

    from keras_vit import preprocessing

    seed = tf.stack([tf.constant(recipe.seed ^ 0x5EED, tf.int64), tf.cast(step, tf.int64)])
    images = augment(tf.cast(images, tf.float32), recipe, seed)
    return preprocessing.normalize(images, spec), labels, labels, tf.ones(tf.shape(labels), tf.float32)


def changes(recipe):
    """Whether the recipe changes pictures at all."""
    return bool(recipe.shift or recipe.rotate or recipe.zoom or recipe.shear or recipe.hflip)


def affine(draws, recipe, height, width):
    """Matrices (B, 3, 3) that take a point of the new picture to its point in the old one.

    Args:
        draws: (B, 6), uniform in [-1, 1): shift in x and y, rotation, zoom, shear, flip.
    """
    import tensorflow as tf

    shift_x, shift_y, rotate, zoom, shear, flip = tf.unstack(draws, axis=1)
    zero, one = tf.zeros_like(zoom), tf.ones_like(zoom)

    def matrix(*rows):
        return tf.reshape(tf.stack(rows, axis=1), (-1, 3, 3))

    def move(x, y):
        return matrix(one, zero, x * one, zero, one, y * one, zero, zero, one)

    angle = rotate * math.radians(recipe.rotate)
    lean = tf.tan(shear * math.radians(recipe.shear))
    scale = 1 / (1 + zoom * recipe.zoom)
    mirror = tf.where(flip < 2 * recipe.hflip - 1, -one, one)
    x, y = (width - 1) / 2, (height - 1) / 2
    c, s = tf.cos(angle), tf.sin(angle)
    turned = matrix(c, -s, zero, s, c, zero, zero, zero, one)
    sheared = matrix(one, lean, zero, zero, one, zero, zero, zero, one)
    scaled = matrix(scale * mirror, zero, zero, zero, scale, zero, zero, zero, one)
    shifted = move(-x + shift_x * recipe.shift * width, -y + shift_y * recipe.shift * height)
    return move(x, y) @ turned @ sheared @ scaled @ shifted
