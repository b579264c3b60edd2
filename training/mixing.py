"""MixUp and CutMix: two pictures in one, and two labels with their shares.

MixUp: Zhang et al., arXiv:1710.09412, Eq. 1: lambda x_i + (1 - lambda) x_j, lambda from Beta(alpha, alpha).
CutMix: Yun et al., arXiv:1905.04899, Eq. 1 and 2: a box of x_j with the area 1 - lambda in x_i, its centre anywhere, so
that what lies outside the picture is cut off; the label's share is that of the area left.
Here MixUp's box is the whole picture, with the share lambda in it; CutMix's has the share 0. Pictures 2i and 2i + 1 of
a batch are a pair that is mixed with one lambda, each into the other.
Letters: B batch, P = B / 2 pairs, H W grid, C channels. A box is (top, left, bottom, right) in pixels, the last two
exclusive.
"""

import functools


def mixes(recipe):
    """Whether the recipe mixes pictures at all."""
    return bool((recipe.mixup or recipe.cutmix) and recipe.mixup_prob)


def choose(recipe, pairs, height, width, seed):
    """What becomes of each pair.

    Args:
        pairs: their number.
        seed: two int64.
    Output: boxes int32 (pairs, 4); the own picture's share within, float32 (pairs,), 1 where nothing is mixed.
    """
    import tensorflow as tf

    mixup_seed, cutmix_seed, seed = tf.unstack(tf.random.split(seed, 3, alg="philox"))
    draws = tf.random.stateless_uniform((pairs, 4), seed, alg="philox")
    mixed = draws[:, 0] < recipe.mixup_prob
    cut = draws[:, 1] < (recipe.mixup_switch_prob if recipe.mixup and recipe.cutmix else float(recipe.cutmix > 0))
    boxes = cut_boxes(beta(recipe.cutmix or 1.0, pairs, cutmix_seed), draws[:, 2:], height, width)
    boxes = tf.where(cut[:, None], boxes, (0, 0, height, width))
    own = tf.where(cut, 0.0, beta(recipe.mixup or 1.0, pairs, mixup_seed))
    return boxes, tf.where(mixed, own, 1.0)


def beta(alpha, number, seed):
    """Draws from Beta(alpha, alpha), float32 (number,): X / (X + Y), where X and Y are from Gamma(alpha).

    In logarithms, since a small alpha gives numbers too small for floats: X is Z U^(1 / alpha) for Z from
    Gamma(alpha + 1) and an even U.
    """
    import tensorflow as tf

    z = tf.random.stateless_gamma((2, number), seed, alpha + 1, dtype=tf.float64)
    u = tf.random.stateless_uniform((2, number), tf.bitwise.invert(seed), 1e-300, 1.0, tf.float64, alg="philox")
    x, y = tf.unstack(tf.math.log(z) + tf.math.log(u) / alpha)
    return tf.cast(tf.sigmoid(x - y), tf.float32)


def cut_boxes(share, centres, height, width):
    """CutMix's boxes, int32 (P, 4).

    Args:
        share: float32 (P,), lambda.
        centres: float32 (P, 2), uniform in [0, 1): y and x.
    """
    import tensorflow as tf

    size = tf.constant([height, width], tf.float32)
    half = tf.floor(size * tf.sqrt(1 - share)[:, None]) // 2
    centre = tf.floor(size * centres)
    corners = tf.concat([centre - half, centre + half], axis=1)
    return tf.cast(tf.clip_by_value(corners, 0.0, tf.tile(size, (2,))), tf.int32)


def mix(images, labels, boxes, own):
    """Mix each pair, within its box.

    Args:
        images: float32 (B, H, W, C), B even.
        labels: int32 (B,).
        boxes, own: of the P pairs, as `choose` gives them.
    Output: (images, labels, partners, weights): partners int32 (B,), the labels of the pictures mixed in (the own where
        nothing is mixed); weights float32 (B,), the shares of the own labels.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    boxes, own = tf.convert_to_tensor(boxes), tf.convert_to_tensor(own)
    top, left, bottom, right = tf.unstack(boxes, axis=1)
    area = tf.cast((bottom - top) * (right - left), tf.float32) / (height * width)
    weights = tf.reshape(tf.tile((1 - (1 - own) * area)[:, None], (1, 2)), labels.shape)
    partners = tf.reshape(tf.reverse(tf.reshape(labels, (-1, 2)), [1]), labels.shape)
    partners = tf.where(weights < 1, partners, labels)
    return _blender()(images, boxes, own), labels, partners, weights


@functools.cache
def _blender():
    """A function of (images, boxes, own); in one pass over the pictures."""
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def blend(images, boxes, own):
        height, width = images.shape[1:3]
        top, left, bottom, right = (side[:, None] for side in tf.unstack(boxes, axis=1))  # P 1
        y, x = tf.range(height), tf.range(width)
        inside = ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None]  # P H W
        inside &= own[:, None, None] < 1
        pairs = tf.reshape(images, (-1, 2, *images.shape[1:]))  # P 2 H W C
        others = tf.reverse(pairs, [1])
        mixed = others + own[:, None, None, None, None] * (pairs - others)
        return tf.reshape(tf.where(inside[:, None, :, :, None], mixed, pairs), images.shape)

    return blend
