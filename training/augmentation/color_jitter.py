"""Colour jitter: brightness, contrast and saturation, each by a random factor, in random order.

As in torchvision and timm: each factor is uniform in [max(0, 1 - strength), 1 + strength].
"""

import functools

from keras_vit.training.augmentation import pil_ops

OPERATIONS = (pil_ops.brightness, pil_ops.contrast, pil_ops.color)


def jitter(image, strength, seed):
    """Apply the colour jitter that the seed determines.

    Args:
        image: uint8 (H, W, 3).
        strength: recipe.color_jitter.
        seed: two int64.
    Returns:
        As `image`.
    """
    import tensorflow as tf

    draws = tf.random.stateless_uniform((2, len(OPERATIONS)), seed, alg="philox")
    low, high = max(0.0, 1.0 - strength), 1.0 + strength
    return compiled_operations()(image, tf.argsort(draws[0]), low + (high - low) * draws[1])


@functools.cache
def compiled_operations():
    """A function of (image, order, factors): applies OPERATIONS[order[i]] with factors[i], for i = 0, 1, 2."""
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def apply(image, order, factors):
        for i in range(len(OPERATIONS)):
            branches = [functools.partial(operation, image, factors[i]) for operation in OPERATIONS]
            image = tf.ensure_shape(tf.switch_case(order[i], branches), image.shape)
        return image

    return apply
