"""Augmentation of training images after cropping: first of each image, then of a batch.

All random draws are functions of seeds. So a resumed run sees the same images as an uninterrupted one, however a batch
is divided. (Keras' augmentation layers draw from stateful generators, which guarantee neither.)
Most of it is compiled by XLA, whether or not `recipe.xla` compiles the model: flipping and normalising a batch then
takes a tenth of the time, RandAugment of an image a seventh (measured on a CPU).
Letters: B batch, M micro-batch, H W grid, C channels.
"""

import functools

import numpy as np

from keras_vit import preprocessing
from keras_vit.training.augmentation import affine, color_jitter, mixup, randaugment, random_erasing

COLORS, AFFINE, FLIP, ERASING, NOISE, MIXING = range(0xA061, 0xA067)  # separate the random streams


def changes_images(recipe):
    """Whether the recipe augments images one by one, by RandAugment or colour jitter.

    Raises:
        ValueError: if `aa` is invalid.
    """
    return bool((recipe.aa and randaugment.parse(recipe.aa)) or recipe.color_jitter)


def augment_image(image, recipe, seed):
    """Apply the recipe's RandAugment, or else its colour jitter.

    Args:
        image: uint8 (H, W, 3).
        seed: two int64; the same seed gives the same result.
    Returns:
        As `image`.
    """
    import tensorflow as tf

    seed = tf.bitwise.bitwise_xor(seed, tf.constant([COLORS, 0], tf.int64))
    if recipe.aa:
        return randaugment.augment(image, randaugment.parse(recipe.aa), seed)
    if recipe.color_jitter:
        return color_jitter.jitter(image, recipe.color_jitter, seed)
    return image


def augment_batch(images, labels, recipe, spec, step, offset, batch_size):
    """Transform, flip, normalise, erase and mix a micro-batch: images offset ... offset + M of the batch of a step.

    Random draws are made for the whole batch, so that the result does not depend on how it is divided.

    Args:
        images: uint8 or float32 (M, H, W, 3) in [0, 255]; if the recipe mixes images, M and the offset must be even.
        labels: int32 (M,), or of several labels per image (M, K).
        spec: preprocessing.Spec whose mean and standard deviation normalise the images.
        step: int64, the step's number; with recipe.seed, the seed of all draws.
        batch_size: B, images of the whole batch.
    Returns:
        (images, labels, partners, weights): images float32 (M, H, W, 3), normalised; partners as labels, those of the
        image mixed in, or the image's own; weights float32 (M,), the weight of the image's own label.
    Raises:
        ValueError: if pairs are to be mixed and M is odd.
    """
    import tensorflow as tf

    step, offset = tf.cast(step, tf.int64), tf.cast(offset, tf.int64)

    def seed_of(stream):
        return tf.stack([tf.constant(recipe.seed ^ stream, tf.int64), step])

    def draws(stream, columns, low=0.0):
        whole = tf.random.stateless_uniform((batch_size, columns), seed_of(stream), low, 1.0, alg="philox")
        return tf.ensure_shape(whole[offset : offset + images.shape[0]], (images.shape[0], columns))

    flipped = draws(FLIP, 1)[:, 0] < recipe.hflip
    if affine.is_enabled(recipe):
        images = affine.transform(tf.cast(images, tf.float32), draws(AFFINE, affine.DRAWS, -1.0), recipe)
    if images.dtype == tf.uint8:
        images = _bytes_flipper(spec)(images, flipped)
    else:
        images = preprocessing.normalize(_flip(images, flipped), spec)
    if recipe.reprob:
        first = step * batch_size + offset
        images = _erase(images, draws(ERASING, 1 + random_erasing.DRAWS), recipe, first)
    return _mix(images, tf.cast(labels, tf.int32), recipe, offset, batch_size, seed_of(MIXING))


def _erase(images, draws, recipe, first):
    """Random erasing with the recipe's probability; `first` is the global position of the first image."""
    import tensorflow as tf

    size, height, width = images.shape[:3]
    chances, boxes = tf.split(draws, (1, random_erasing.DRAWS), axis=1)
    seeds = tf.fill((size,), tf.constant(recipe.seed ^ NOISE, tf.int64)), first + tf.range(size, dtype=tf.int64)
    boxes = random_erasing.choose_boxes(boxes, height, width)
    return random_erasing.erase(images, chances[:, 0] < recipe.reprob, boxes, tf.stack(seeds, axis=1))


def _mix(images, labels, recipe, offset, batch_size, seed):
    """MixUp and CutMix of the pairs of a micro-batch, as (images, labels, partners, weights)."""
    import tensorflow as tf

    size, height, width = images.shape[:3]
    if not mixup.is_enabled(recipe):
        return images, labels, labels, tf.ones((size,), tf.float32)
    if size % 2:
        raise ValueError(f"MixUp and CutMix mix pairs of images, and need an even micro-batch. Received: {size}.")
    whole = mixup.draw(recipe, batch_size // 2, height, width, seed)
    boxes, lambdas = (values[offset // 2 : (offset + size) // 2] for values in whole)
    return mixup.mix(images, labels, boxes, lambdas)


@functools.cache
def _bytes_flipper(spec):
    """A function of (images, flipped) that flips and normalises uint8 images, by a table of all 256 values."""
    import tensorflow as tf

    values = np.repeat(np.arange(256, dtype="uint8")[:, None], 3, axis=1)  # 256 C
    table = preprocessing.normalize(values[None], spec).ravel()

    @tf.function(jit_compile=True, autograph=False)
    def flip_and_normalize(images, flipped):
        images = tf.cast(_flip(images, flipped), tf.int32)
        return tf.gather(table, 3 * images + np.arange(3))

    return flip_and_normalize


def _flip(images, flipped):
    """The images (M, H, W, C), left and right exchanged where `flipped`, bool (M,), is true."""
    import tensorflow as tf

    return tf.where(flipped[:, None, None, None], tf.reverse(images, [2]), images)
