"""Colour jitter: brightness, contrast and saturation, each by a random factor, in random order.

As in torchvision and timm: a factor is evenly distributed over [1 - strength, 1 + strength], from 0 up.
"""

import functools

from keras_vit.training import operations

OPERATIONS = (operations.brightness, operations.contrast, operations.color)


def jitter(image, strength, seed):
    """The picture with the colours that the seed draws.

    Args:
        image: uint8 (H, W, 3).
        strength: recipe.color_jitter.
        seed: two int64.
    Output: as the input.
    """
    import tensorflow as tf

    draws = tf.random.stateless_uniform((2, len(OPERATIONS)), seed, alg="philox")
    low, high = max(0.0, 1.0 - strength), 1.0 + strength
    return _applier()(image, tf.argsort(draws[0]), low + (high - low) * draws[1])


@functools.cache
def _applier():
    """A function of (image, order, factors) that applies the operations of these numbers by these factors."""
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def apply(image, order, factors):
        for i in range(len(OPERATIONS)):
            branches = [functools.partial(operation, image, factors[i]) for operation in OPERATIONS]
            image = tf.ensure_shape(tf.switch_case(order[i], branches), image.shape)
        return image

    return apply
