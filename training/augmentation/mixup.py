"""MixUp and CutMix: two images in one, and two labels with weights.

MixUp: Zhang et al., arXiv:1710.09412, Eq. 1: lambda x_i + (1 - lambda) x_j, lambda from Beta(alpha, alpha).
CutMix: Yun et al., arXiv:1905.04899, Eq. 1 and 2: a box of x_j, of the area 1 - lambda, replaces that of x_i. Its
centre is uniform over the image, so the box may be clipped at the borders; the label's weight follows the clipped area.
Here both are one operation: inside a box, lambda x_i + (1 - lambda) x_j. MixUp's box is the whole image; CutMix has
lambda 0 inside its box. Images 2i and 2i + 1 of a batch are a pair: each is mixed into the other with one lambda.
Letters: B batch, P = B / 2 pairs, H W grid, C channels. A box is (top, left, bottom, right) in pixels, the last two
exclusive.
"""

import functools


def is_enabled(recipe):
    """Whether the recipe mixes images."""
    return bool((recipe.mixup or recipe.cutmix) and recipe.mixup_prob)


def draw(recipe, pairs, height, width, seed):
    """Draw the box and lambda of each pair.

    Args:
        pairs: P, the number of pairs.
        seed: two int64.
    Returns:
        (boxes int32 (P, 4), lambdas float32 (P,)): the weight of the image's own pixels in the box; 1 for pairs that
        are not mixed.
    """
    import tensorflow as tf

    mixup_seed, cutmix_seed, seed = tf.unstack(tf.random.split(seed, 3, alg="philox"))
    draws = tf.random.stateless_uniform((pairs, 4), seed, alg="philox")
    mixed = draws[:, 0] < recipe.mixup_prob
    cut = draws[:, 1] < (recipe.mixup_switch_prob if recipe.mixup and recipe.cutmix else float(recipe.cutmix > 0))
    boxes = cutmix_boxes(beta(recipe.cutmix or 1.0, pairs, cutmix_seed), draws[:, 2:], height, width)
    boxes = tf.where(cut[:, None], boxes, (0, 0, height, width))
    lambdas = tf.where(cut, 0.0, beta(recipe.mixup or 1.0, pairs, mixup_seed))
    return boxes, tf.where(mixed, lambdas, 1.0)


def beta(alpha, number, seed):
    """Draws from Beta(alpha, alpha), float32 (number,): X / (X + Y) with X and Y from Gamma(alpha).

    Computed from logarithms, since a small alpha underflows: X = Z U^(1 / alpha) with Z from Gamma(alpha + 1) and U
    uniform in (0, 1).
    """
    import tensorflow as tf

    z = tf.random.stateless_gamma((2, number), seed, alpha + 1, dtype=tf.float64)
    u = tf.random.stateless_uniform((2, number), tf.bitwise.invert(seed), 1e-300, 1.0, tf.float64, alg="philox")
    x, y = tf.unstack(tf.math.log(z) + tf.math.log(u) / alpha)
    return tf.cast(tf.sigmoid(x - y), tf.float32)


def cutmix_boxes(lambdas, centres, height, width):
    """CutMix's boxes, int32 (P, 4).

    Args:
        lambdas: float32 (P,); the area of a box is 1 - lambda, before clipping.
        centres: float32 (P, 2), uniform in [0, 1): y and x.
    """
    import tensorflow as tf

    size = tf.constant([height, width], tf.float32)
    half = tf.floor(size * tf.sqrt(1 - lambdas)[:, None]) // 2
    centre = tf.floor(size * centres)
    corners = tf.concat([centre - half, centre + half], axis=1)
    return tf.cast(tf.clip_by_value(corners, 0.0, tf.tile(size, (2,))), tf.int32)


def mix(images, labels, boxes, lambdas):
    """Mix each pair inside its box.

    Args:
        images: float32 (B, H, W, C), B even.
        labels: int32 (B,), or of several labels per image (B, K).
        boxes, lambdas: of the P pairs, from `draw`.
    Returns:
        (images, labels, partners, weights): partners as labels, those of the image mixed in (the image's own if it is
        not mixed); weights float32 (B,), the weight of the image's own label.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    boxes, lambdas = tf.convert_to_tensor(boxes), tf.convert_to_tensor(lambdas)
    top, left, bottom, right = tf.unstack(boxes, axis=1)
    area = tf.cast((bottom - top) * (right - left), tf.float32) / (height * width)
    weights = tf.reshape(tf.tile((1 - (1 - lambdas) * area)[:, None], (1, 2)), labels.shape[:1])
    partners = tf.reshape(tf.reverse(tf.reshape(labels, (-1, 2, *labels.shape[1:])), [1]), labels.shape)
    mixed = tf.reshape(weights < 1, (-1, *[1] * (len(labels.shape) - 1)))
    partners = tf.where(mixed, partners, labels)
    return _blender()(images, boxes, lambdas), labels, partners, weights


@functools.cache
def _blender():
    """A function of (images, boxes, lambdas) that mixes in one pass over the images."""
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def blend(images, boxes, lambdas):
        height, width = images.shape[1:3]
        top, left, bottom, right = (side[:, None] for side in tf.unstack(boxes, axis=1))  # P 1
        y, x = tf.range(height), tf.range(width)
        inside = ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None]  # P H W
        inside &= lambdas[:, None, None] < 1
        pairs = tf.reshape(images, (-1, 2, *images.shape[1:]))  # P 2 H W C
        partners = tf.reverse(pairs, [1])
        mixed = partners + lambdas[:, None, None, None, None] * (pairs - partners)
        return tf.reshape(tf.where(inside[:, None, :, :, None], mixed, pairs), images.shape)

    return blend
