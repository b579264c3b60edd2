"""What a recipe does to its training pictures after cropping: to each by itself, then to a batch.

All draws are functions of seeds, so that a resumed run continues with the very pictures it would have seen, and a batch
divided otherwise holds the same. (Keras' layers for these draw from generators with a state: neither would hold.)
XLA compiles what it can, whatever `recipe.xla` says of the model: a batch is mirrored and normalised in a tenth of the
time, a picture gets its RandAugment in a seventh (measured on a CPU).
Letters: B batch, H W grid, C channels.
"""

import functools

import numpy as np

from keras_vit import preprocessing
from keras_vit.training import affine, erasing, jitter, mixing, randaugment

COLOURS, MOVES, FLIPS, ERASING, NOISE, MIXING = range(0xA061, 0xA067)  # keep the draws of each apart


def changes_pictures(recipe):
    """Whether the recipe changes pictures one by one: by RandAugment or colour jitter. ValueError for a wrong `aa`."""
    return bool((recipe.aa and randaugment.parse(recipe.aa)) or recipe.color_jitter)


def augment_picture(image, recipe, seed):
    """RandAugment, or else colour jitter, as the recipe says.

    Args:
        image: uint8 (H, W, 3).
        seed: two int64; the same seed gives the same picture.
    Output: as the input.
    """
    import tensorflow as tf

    seed = tf.bitwise.bitwise_xor(seed, tf.constant([COLOURS, 0], tf.int64))
    if recipe.aa:
        return randaugment.augment(image, randaugment.parse(recipe.aa), seed)
    if recipe.color_jitter:
        return jitter.jitter(image, recipe.color_jitter, seed)
    return image


def augment_batch(images, labels, recipe, spec, step, offset, batch_size):
    """Move, flip, normalise, erase and mix pictures offset ... offset + B of the batch of a step.

    The draws are made for the whole batch, so that it holds the same pictures however it is divided.

    Args:
        images: uint8 or float32 (B, H, W, 3) in [0, 255]; B even if the recipe mixes pictures, as the offset must be.
        labels: int32 (B,).
        spec: what normalises.
        step: int64, number of the step; with recipe.seed it decides all draws.
        batch_size: pictures of the whole batch.
    Output: a training batch (images, labels, partners, weights): images float32 (B, H, W, 3), normalised; partners
        int32 (B,), the labels of the pictures mixed in, or the own; weights float32 (B,), the shares of the own labels.
    Raises: ValueError if pairs are to be mixed and B is odd.
    """
    import tensorflow as tf

    share, height, width = images.shape[:3]
    labels, step, offset = (
        tf.cast(value, kind) for value, kind in ((labels, "int32"), (step, "int64"), (offset, "int64"))
    )

    def seed_of(stream):
        return tf.stack([tf.constant(recipe.seed ^ stream, tf.int64), step])

    def draws(stream, columns, low=0.0):
        whole = tf.random.stateless_uniform((batch_size, columns), seed_of(stream), low, 1.0, alg="philox")
        return whole[offset : offset + share]

    flipped = draws(FLIPS, 1)[:, 0] < recipe.hflip
    if affine.moves(recipe):
        images = affine.move(tf.cast(images, tf.float32), draws(MOVES, affine.DRAWS, -1.0), recipe)
    if images.dtype == tf.uint8:
        images = _finisher(spec)(images, flipped)
    else:
        images = preprocessing.normalize(_mirror(images, flipped), spec)
    if recipe.reprob:
        chance, boxes = tf.split(draws(ERASING, 1 + erasing.DRAWS), (1, erasing.DRAWS), axis=1)
        positions = step * batch_size + offset + tf.range(share, dtype=tf.int64)
        seeds = tf.stack([tf.fill((share,), tf.constant(recipe.seed ^ NOISE, tf.int64)), positions], axis=1)
        boxes = erasing.choose_boxes(boxes, height, width)
        images = erasing.erase(images, chance[:, 0] < recipe.reprob, boxes, seeds)
    if not mixing.mixes(recipe):
        return images, labels, labels, tf.ones((share,), tf.float32)
    if share % 2:
        raise ValueError(
            f"MixUp and CutMix mix pairs of pictures, and need an even share of a batch. Received: {share}."
        )
    chosen = mixing.choose(recipe, batch_size // 2, height, width, seed_of(MIXING))
    boxes, own = (values[offset // 2 : (offset + share) // 2] for values in chosen)
    return mixing.mix(images, labels, boxes, own)


@functools.cache
def _finisher(spec):
    """A function of (images, flipped) that mirrors and normalises uint8 images: every value that can come is known."""
    import tensorflow as tf

    values = np.repeat(np.arange(256, dtype="uint8")[:, None], 3, axis=1)  # 256 C
    table = preprocessing.normalize(values[None], spec).ravel()

    @tf.function(jit_compile=True)
    def finish(images, flipped):
        images = tf.cast(_mirror(images, flipped), tf.int32)
        return tf.gather(table, 3 * images + np.arange(3))

    return finish


def _mirror(images, flipped):
    """Those of the images (B, H, W, C) left to right that are `flipped`, bool (B,)."""
    import tensorflow as tf

    return tf.where(flipped[:, None, None, None], tf.reverse(images, [2]), images)
