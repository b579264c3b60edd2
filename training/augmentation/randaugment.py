"""RandAugment: a few operations drawn at random, all of one magnitude.

Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", arXiv:1909.13719,
Sec. 3, in timm's variant, with which DeiT, Swin, ConvNeXt and their successors were trained: magnitudes from 0 to 10;
each of the n operations is skipped with probability 1/2 and has a magnitude of its own; optionally, all operations
become stronger with the magnitude ("increasing").

Not keras.layers.RandAugment (Keras 3.15): it draws the operations once for a whole batch, shears and shifts along both
axes at once, rotates by up to factor x 360 degrees, uses a stateful generator, and computes all of its eleven
operations each time: 34 to 37 ms per image of 224 x 224 on one core, against 0.25 here and 0.7 to 0.95 with PIL.
"""

import functools
import re
from dataclasses import dataclass

from keras_vit.training.augmentation import pil_ops

PROBABILITY = 0.5  # of each of the n operations
MAX_LEVEL = 10.0
FIELDS = {
    "m": "magnitude, 0 to 10 (10)",
    "n": "number of operations (2)",
    "mstd": "standard deviation of the magnitude (0)",
    "inc": "1 for operations that all become stronger with the magnitude (0)",
}


@dataclass(frozen=True)
class Policy:
    """The values of a policy such as "rand-m9-n2-mstd0.5-inc1"."""

    magnitude: float = MAX_LEVEL
    number: int = 2
    deviation: float = 0.0
    increasing: bool = False


def parse(text):
    """Parse timm's notation of a policy.

    Raises:
        ValueError: if a field is unknown, repeated or out of range; lists the known fields.
    """
    head, *fields = text.split("-")
    matches = [re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", field) for field in fields]
    values = {match[1]: float(match[2]) for match in matches if match}
    policy = Policy(
        magnitude=values.get("m", MAX_LEVEL),
        number=int(values.get("n", 2)),
        deviation=values.get("mstd", 0.0),
        increasing=bool(values.get("inc", 0)),
    )
    integers = policy.number == values.get("n", 2) and values.get("inc", 0) in (0, 1)
    known = head == "rand" and all(matches) and set(values) <= set(FIELDS) and len(values) == len(fields)
    if not (known and integers and policy.magnitude <= MAX_LEVEL and policy.number >= 1):
        listed = "; ".join(f"{name}: {meaning}" for name, meaning in FIELDS.items())
        raise ValueError(
            f'aa is written as "rand-m9-n2-mstd0.5-inc1": rand, then fields in any order, each once. Received: '
            f"{text!r}. The fields, with their defaults: {listed}."
        )
    return policy


def augment(image, policy, seed):
    """Apply the operations that the policy and the seed determine.

    Args:
        image: uint8 (H, W, 3).
        seed: two int64.
    Returns:
        As `image`.
    """
    import tensorflow as tf

    draws = tf.random.stateless_uniform((policy.number, 3), seed, alg="philox")
    noise = tf.random.stateless_normal((policy.number,), tf.bitwise.invert(seed), alg="philox")
    levels = tf.clip_by_value(policy.magnitude + policy.deviation * noise, 0.0, MAX_LEVEL)
    levels = tf.where(draws[:, 0] < 0.5, -levels, levels)
    count = len(operations(policy.increasing))
    indices = tf.where(draws[:, 1] < PROBABILITY, tf.cast(draws[:, 2] * count, tf.int32), count)
    for i in range(policy.number):
        image = compiled_operations(policy.increasing)(image, indices[i], levels[i])
    return image


@functools.cache
def compiled_operations(increasing):
    """A function of (image, index of an operation, level); the index after the last leaves the image unchanged."""
    import tensorflow as tf

    with_identity = [*operations(increasing).values(), lambda image, level: image]

    @tf.function(jit_compile=True, autograph=False)
    def apply(image, index, level):
        branches = [functools.partial(operation, image, level) for operation in with_identity]
        return tf.ensure_shape(tf.switch_case(index, branches), image.shape)

    return apply


def operations(increasing):
    """The fifteen operations by timm's name: functions of (image, level), level between -10 and 10.

    The level's sign is the direction of operations that have one. Without `increasing`, Posterize and Solarize become
    weaker with the level, and the factors of Color, Contrast, Brightness and Sharpness go from 0.1 (level 0) to 1.9.
    """
    import tensorflow as tf

    def rising(level, maximum):
        return tf.cast(tf.abs(level) / MAX_LEVEL * maximum, tf.int32)

    def kept(level, maximum):
        return maximum - rising(level, maximum) if increasing else rising(level, maximum)

    def factor(level):
        return tf.maximum(0.1, 1 + 0.09 * level) if increasing else 0.1 + 0.18 * tf.abs(level)

    def enhance(operation):
        return lambda image, level: operation(image, factor(level))

    def signed(operation, maximum):
        return lambda image, level: operation(image, level / MAX_LEVEL * maximum)

    return {
        "AutoContrast": lambda image, level: pil_ops.auto_contrast(image),
        "Equalize": lambda image, level: pil_ops.equalize(image),
        "Invert": lambda image, level: pil_ops.invert(image),
        "Rotate": signed(pil_ops.rotate, 30.0),  # degrees
        "Posterize": lambda image, level: pil_ops.posterize(image, kept(level, 4)),  # bits
        "Solarize": lambda image, level: pil_ops.solarize(image, kept(level, 256)),
        "SolarizeAdd": lambda image, level: pil_ops.solarize_add(image, rising(level, 110)),
        "Color": enhance(pil_ops.color),
        "Contrast": enhance(pil_ops.contrast),
        "Brightness": enhance(pil_ops.brightness),
        "Sharpness": enhance(pil_ops.sharpness),
        "ShearX": signed(pil_ops.shear_x, 0.3),
        "ShearY": signed(pil_ops.shear_y, 0.3),
        "TranslateX": signed(pil_ops.translate_x, 0.45),  # of the side
        "TranslateY": signed(pil_ops.translate_y, 0.45),
    }
