"""What configurations of transformers and timm share: an `Architecture`, and fields whose errors name them."""

import math
from dataclasses import dataclass
from typing import Any

from keras_vit.models.family import Family
from keras_vit.weights.entries import WeightFileError

MAX_WIDTH = 2**16  # channels
MAX_DEPTH = 2**10  # blocks of a stage
MAX_STAGES = 8
MAX_IMAGE = 2**13  # pixels of a side
# Names of activations that are those of transformers, of timm and of `keras_vit.layers.activations`.
SAME_ACTIVATIONS = {name: name for name in ("gelu", "quick_gelu", "relu", "relu6", "leaky_relu", "silu", "mish")}
SAME_ACTIVATIONS |= {name: name for name in ("selu", "elu", "tanh", "sigmoid")}


class UnsupportedModelError(WeightFileError):
    """A configuration of another library that no family here has, or a model here that the library does not have."""


@dataclass(frozen=True)
class Architecture:
    """A model without its weights."""

    family: Family
    config: Any  # the family's `Config`
    input_shape: tuple[int, int, int]  # (H, W, C)

    def check(self, where):
        """Raise if the family cannot be built so, naming the file `where`."""
        try:
            self.family.check_size(self.config, *self.input_shape[:2])
        except ValueError as error:
            sides = list(self.input_shape[:2])
            raise UnsupportedModelError(f"{where}: image_size={sides} is not to be had here: {error}") from error


class Fields:
    """Values of a config.json, each checked as it is read.

    Args:
        where: the file, for errors.
        entries: what it holds.
        defaults: of the library, for fields that it leaves out.
    """

    def __init__(self, where, entries, defaults):
        self.where, self.entries, self.defaults = where, entries, defaults

    def __getitem__(self, name):
        value = self.entries.get(name)
        return self.defaults.get(name) if value is None else value

    def whole(self, name, most=MAX_WIDTH):
        """A positive whole number."""
        return self._checked(name, self[name], most)

    def wholes(self, name, most=MAX_WIDTH, least=1, length=None):
        """Whole numbers, one per stage."""
        values = self[name]
        if not isinstance(values, (list, tuple)) or not 1 <= len(values) <= MAX_STAGES:
            raise self.wrong(name, f"a list of up to {MAX_STAGES} whole numbers, one per stage")
        if length is not None and len(values) != length:
            raise self.wrong(name, f"{length} values, one per stage")
        return tuple(self._checked(name, value, most, least) for value in values)

    def numbers(self, name, length):
        """Positive numbers, one per stage."""
        values = self[name]
        good = isinstance(values, (list, tuple)) and len(values) == length
        if not good or not all(_is_number(value) and 0 < value <= 64 for value in values):
            raise self.wrong(name, f"{length} positive numbers, one per stage")
        return tuple(values)

    def number(self, name, most=64.0):
        """A number above 0."""
        value = self[name]
        if not _is_number(value) or not 0 < value <= most:
            raise self.wrong(name, f"a positive number, at most {most:g}")
        return value

    def flag(self, name):
        """True or False."""
        if not isinstance(self[name], bool):
            raise self.wrong(name, "true or false")
        return self[name]

    def choice(self, name, known):
        """What `known` has for a text."""
        value = self[name]
        if not isinstance(value, str) or value not in known:
            raise self.wrong(name, f"one of {', '.join(known)}")
        return known[value]

    def side(self, name):
        """A number of pixels of both sides, which may be given twice."""
        height, width = self.sides(name)
        if height != width:
            raise self.wrong(name, "the same number for height and width")
        return height

    def sides(self, name, most=MAX_IMAGE):
        """(H, W) in pixels."""
        value = self[name]
        if isinstance(value, dict) and set(value) == {"height", "width"}:
            value = [value["height"], value["width"]]
        pair = value if isinstance(value, (list, tuple)) else [value, value]
        if len(pair) != 2 or any(type(side) is not int or not 1 <= side <= most for side in pair):
            raise self.wrong(name, f"a number of pixels up to {most}, or two: height and width")
        return tuple(pair)

    def require(self, name, *supported):
        """Raise unless a field has one of the values that are to be had here."""
        if self[name] not in supported:
            raise self.wrong(name, " or ".join(map(repr, supported)))

    def require_heads(self, name, widths, heads):
        """Raise unless widths are multiples of the numbers of heads."""
        if any(width % number for width, number in zip(widths, heads)):
            raise self.wrong(name, f"divisors of the widths {list(widths)}")

    def wrong(self, name, expected):
        """The error for a field."""
        return UnsupportedModelError(
            f"{self.where}: {name}: expected {expected}. Received: {name}={repr(self[name])[:100]}"
        )

    def _checked(self, name, value, most, least=1):
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(name, f"whole numbers from {least} to {most}")
        return value


def least_weights(architecture):
    """A number of weights below that of a model, from its sizes alone; 0 for a family whose sizes are its own names'.

    Whoever wrote a configuration may have written any numbers; weights that are not in a file take no memory.
    """
    config, (height, width, channels) = architecture.config, architecture.input_shape
    depths, widths = _stages(config)
    ratios = getattr(config, "mlp_ratios", None) or (getattr(config, "mlp_ratio", 4),) * len(depths)
    reductions = getattr(config, "sr_ratios", None) or (1,) * len(depths)
    first = getattr(config, "patch_size", 4)
    patches = getattr(config, "patch_sizes", None) or (first,) + (2,) * (len(depths) - 1)
    found, before = 0, channels
    for depth, C, ratio, reduction, patch in zip(depths, widths, ratios, reductions, patches):
        found += patch**2 * before * C + int(depth * (ratio + (reduction > 1) * reduction**2) * C * C)
        before = C
    positions = getattr(config, "positions", None) == "learned_1d" or hasattr(config, "registers")
    return found + (height // first) * (width // first) * widths[0] * positions


def _stages(config):
    """(blocks, widths) of each stage; those of a family without any of these fields are empty."""
    if hasattr(config, "depth") and hasattr(config, "embed_dim"):
        return (config.depth,), (config.embed_dim,)
    depths = getattr(config, "depths", ())
    widths = getattr(config, "embed_dims", None) or getattr(config, "dims", None)
    if widths is None and isinstance(getattr(config, "embed_dim", None), int):
        widths = tuple(config.embed_dim * 2**s for s in range(len(depths)))
    return (depths, widths) if widths else ((), (0,))


def mlp_ratio(width, hidden):
    """The ratio for which `int(ratio * width)` is `hidden`."""
    ratio = hidden / width
    return ratio if int(ratio * width) == hidden else math.nextafter(ratio, math.inf)


def _is_number(value):
    return type(value) in (int, float) and math.isfinite(value)
