"""RandAugment: a few operations drawn at random, all of one magnitude.

Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", arXiv:1909.13719,
Sec. 3, in the form that DeiT, Swin, ConvNeXt and their successors were trained with, which is timm's: magnitudes from
0 to 10, each of the n operations left out with chance 1/2, the magnitude drawn anew for each, and operations that grow
with it ("increasing").

Not keras.layers.RandAugment (Keras 3.15): it draws the operations once for a whole batch, shears and moves along both
axes at once, turns by up to factor x 360 degrees, draws from a generator with a state, and computes all of its eleven
operations each time: 34 to 37 ms per picture of 224 x 224 on one core, against 0.25 here and 0.7 to 0.95 with PIL.
"""

import functools
import re
from dataclasses import dataclass

from keras_vit.training import operations

CHANCE = 0.5  # of each of the n operations
LARGEST = 10.0  # magnitude
PARTS = {
    "m": "magnitude, 0 to 10 (10)",
    "n": "number of operations (2)",
    "mstd": "standard deviation of the magnitude (0)",
    "inc": "1 for operations that grow with the magnitude (0)",
}


@dataclass(frozen=True)
class Policy:
    """What "rand-m9-n2-mstd0.5-inc1" says."""

    magnitude: float = LARGEST
    number: int = 2
    deviation: float = 0.0
    increasing: bool = False


def parse(text):
    """The policy that `text` describes; a part that is unknown or out of range is a ValueError that names the known."""
    head, *parts = text.split("-")
    found = [re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", part) for part in parts]
    values = {match[1]: float(match[2]) for match in found if match}
    policy = Policy(
        magnitude=values.get("m", LARGEST),
        number=int(values.get("n", 2)),
        deviation=values.get("mstd", 0.0),
        increasing=bool(values.get("inc", 0)),
    )
    whole = policy.number == values.get("n", 2) and values.get("inc", 0) in (0, 1)
    known = head == "rand" and all(found) and set(values) <= set(PARTS) and len(values) == len(parts)
    if not (known and whole and policy.magnitude <= LARGEST and policy.number >= 1):
        listed = "; ".join(f"{name}: {meaning}" for name, meaning in PARTS.items())
        raise ValueError(
            f'aa is written as "rand-m9-n2-mstd0.5-inc1": rand, then parts in any order, once. Received: {text!r}. '
            f"The parts, with the values that stand for those left out: {listed}."
        )
    return policy


def augment(image, policy, seed):
    """The picture after the operations that `policy` and the seed draw.

    Args:
        image: uint8 (H, W, 3).
        seed: two int64.
    Output: as the input.
    """
    import tensorflow as tf

    draws = tf.random.stateless_uniform((policy.number, 3), seed, alg="philox")
    noise = tf.random.stateless_normal((policy.number,), tf.bitwise.invert(seed), alg="philox")
    levels = tf.clip_by_value(policy.magnitude + policy.deviation * noise, 0.0, LARGEST)
    levels = tf.where(draws[:, 0] < 0.5, -levels, levels)
    number = len(table(policy.increasing))
    chosen = tf.where(draws[:, 1] < CHANCE, tf.cast(draws[:, 2] * number, tf.int32), number)
    for i in range(policy.number):
        image = _applier(policy.increasing)(image, chosen[i], levels[i])
    return image


@functools.cache
def _applier(increasing):
    """A function of (image, number of an operation, level); the number after the last changes nothing."""
    import tensorflow as tf

    operations = [*table(increasing).values(), lambda image, level: image]

    @tf.function(jit_compile=True)
    def apply(image, number, level):
        branches = [functools.partial(operation, image, level) for operation in operations]
        return tf.ensure_shape(tf.switch_case(number, branches), image.shape)

    return apply


def table(increasing):
    """The fifteen operations by timm's name: functions of (image, level), level between -10 and 10.

    The sign is the direction of what can go either way. Without `increasing`, Posterize and Solarize do less the higher
    the level, and Color, Contrast, Brightness and Sharpness go from 0.1 (level 0) to 1.9.
    """
    import tensorflow as tf

    def steps(level, most):
        return tf.cast(tf.abs(level) / LARGEST * most, tf.int32)

    def left(level, most):
        return most - steps(level, most) if increasing else steps(level, most)

    def factor(level):
        return tf.maximum(0.1, 1 + 0.09 * level) if increasing else 0.1 + 0.18 * tf.abs(level)

    def enhance(operation):
        return lambda image, level: operation(image, factor(level))

    def signed(operation, most):
        return lambda image, level: operation(image, level / LARGEST * most)

    return {
        "AutoContrast": lambda image, level: operations.auto_contrast(image),
        "Equalize": lambda image, level: operations.equalize(image),
        "Invert": lambda image, level: operations.invert(image),
        "Rotate": signed(operations.rotate, 30.0),  # degrees
        "Posterize": lambda image, level: operations.posterize(image, left(level, 4)),  # bits
        "Solarize": lambda image, level: operations.solarize(image, left(level, 256)),
        "SolarizeAdd": lambda image, level: operations.solarize_add(image, steps(level, 110)),
        "Color": enhance(operations.color),
        "Contrast": enhance(operations.contrast),
        "Brightness": enhance(operations.brightness),
        "Sharpness": enhance(operations.sharpness),
        "ShearX": signed(operations.shear_x, 0.3),
        "ShearY": signed(operations.shear_y, 0.3),
        "TranslateX": signed(operations.translate_x, 0.45),  # of the side
        "TranslateY": signed(operations.translate_y, 0.45),
    }
