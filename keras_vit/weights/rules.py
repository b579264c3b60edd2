"""Checkpoint rules: which entry of a file becomes which variable of a model, as data.

A model file lists, beside its layers, one `Layout` per published file format. A layout is a table of rules

    Rule("layers.{s}.blocks.{b}.norm1.weight", "stage{s}_block{b}/norm1/gamma")

where `{s}` and `{b}` stand for integers, `{s+1}` for an integer one larger than the `s` of the other side, and the
whole is matched exactly. The engine holds every layout to the same two equations: every entry of the file is used
once or ignored by name, every variable of the model is assigned once. `match` decides that on names alone.
"""

import functools
import re
from dataclasses import dataclass, field
from typing import Callable, Mapping

import numpy as np

PLACE = re.compile(r"\{(\w+)([+-]\d+)?\}")


@dataclass(frozen=True)
class Rule:
    """One line of a layout.

    Attributes:
        sources: name patterns in the file; several are handed to `transform` together (q, k, v -> qkv).
        target: path pattern of the variable; None ignores the entry.
        transform: stored arrays -> array in Keras' layout.
        aliases: further names under which the first source may appear, once or repeatedly, with equal values.
    """

    sources: tuple[str, ...]
    target: str | None
    transform: Callable = lambda array: array
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A published file format: its name, its rules, and resamplers that differ from the family's own."""

    name: str
    rules: tuple[Rule, ...]
    resamplers: Mapping[str, Callable] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """What becomes one variable: the rule, the entries it takes, and their duplicates under other names."""

    rule: Rule
    names: tuple[str, ...]
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """A layout laid over the names of a file: variables and their sources, and entries that no rule wants."""

    layout: Layout
    assignments: Mapping[str, Assignment]
    unexpected: tuple[str, ...]


# Rules for the layers that occur everywhere --------------------------------------------------------------------------


def param(source, target, transform=lambda array: array, aliases=()):
    """One entry to one variable."""
    return (Rule((source,), target, transform, tuple(aliases)),)


def norm(source, target):
    """A LayerNorm, GroupNorm or BatchNorm's scale and shift."""
    return param(f"{source}.weight", f"{target}/gamma") + param(f"{source}.bias", f"{target}/beta")


def dense(source, target, aliases=()):
    """A Linear [out, in], or a 1 x 1 convolution used as one, to a Dense kernel [in, out]; its bias where it has one.

    Here and below, `aliases` are further names of the whole layer, for layers that a file holds several times.
    """
    return _weight_and_bias(source, target, lambda w: w.reshape(w.shape[:2]).T, aliases)


def conv(source, target, aliases=()):
    """A convolution [O, I, kh, kw] to [kh, kw, I, O]; its bias where it has one."""
    return _weight_and_bias(source, target, lambda w: w.transpose(2, 3, 1, 0), aliases)


def depthwise(source, target, aliases=()):
    """A depthwise convolution [C, 1, kh, kw] to [kh, kw, C, 1]; its bias where it has one."""
    return _weight_and_bias(source, target, lambda w: w.transpose(2, 3, 0, 1), aliases)


def _weight_and_bias(source, target, transform, aliases):
    weights, biases = ([f"{alias}.{part}" for alias in aliases] for part in ("weight", "bias"))
    weight = param(f"{source}.weight", f"{target}/kernel", transform, weights)
    return weight + param(f"{source}.bias", f"{target}/bias", aliases=biases)


def fuse(sources, target, transform):
    """Several entries to one variable."""
    return (Rule(tuple(sources), target, transform),)


def ignore(*patterns):
    """Entries that a file may hold and no model needs: buffers recomputed from the architecture, unused parameters.

    `*` stands for any text.
    """
    return tuple(Rule((pattern,), None) for pattern in patterns)


# Matching ------------------------------------------------------------------------------------------------------------


@functools.cache
def _compile(pattern):
    """A pattern as a regular expression with one group per placeholder, and the placeholders (name, offset)."""
    regex, places, end = "", [], 0
    for place in PLACE.finditer(pattern):
        regex += re.escape(pattern[end : place.start()]) + r"(\d+)"
        places.append((place[1], int(place[2] or 0)))
        end = place.end()
    regex += re.escape(pattern[end:])
    return re.compile(regex.replace(r"\*", ".*")), tuple(places)


def _bind(pattern, name):
    """The integers that make `pattern` spell `name`, as a dict, or None."""
    regex, places = _compile(pattern)
    found = regex.fullmatch(name)
    if not found:
        return None
    numbers = {letter: int(text) - offset for (letter, offset), text in zip(places, found.groups())}
    return None if any(n < 0 for n in numbers.values()) else numbers


def _spell(pattern, numbers):
    """`pattern` with its placeholders filled in."""
    return PLACE.sub(lambda place: str(numbers[place[1]] + int(place[2] or 0)), pattern)


def match(layout, names):
    """Lays a layout over the names of a file; says nothing yet about shapes. The first rule that fits a name wins.

    Returns:
        A `Match`. A rule of several sources assigns its variable only if all of them are there; otherwise those
        found count as unexpected.
    """
    names, used, takers = list(names), set(), {}
    present = set(names)
    for name in names:
        rule, numbers = _first_rule(layout, name)
        if rule is None:
            continue
        if rule.target is None:
            used.add(name)
            continue
        group = (name, *(_spell(source, numbers) for source in rule.sources[1:]))
        if present.issuperset(group):
            used.update(group)
            takers.setdefault(_spell(rule.target, numbers), []).append((rule, group))
    assignments = {
        target: Assignment(*found[0], duplicates=tuple(group[0] for _, group in found[1:]))
        for target, found in takers.items()
    }
    return Match(layout, assignments, tuple(name for name in names if name not in used))


def _first_rule(layout, name):
    """The rule whose first source, or an alias of it, spells `name`, and the integers in it; (None, None) without."""
    for rule in layout.rules:
        for pattern in (rule.sources[0], *rule.aliases):
            numbers = _bind(pattern, name)
            if numbers is not None:
                return rule, numbers
    return None, None


def best_match(layouts, names, targets):
    """The layout that explains a file best: fewest entries left over and variables left out; the first of equals."""
    targets = set(targets)

    def shortfall(found):
        return len(found.unexpected) + len(targets.symmetric_difference(found.assignments))

    return min((match(layout, names) for layout in layouts), key=shortfall)


def own_layout(targets):
    """The layout of files that this library wrote: entries are called as the variables are."""
    return Layout("keras_vit", tuple(Rule((path,), path) for path in targets))


def merge_qkv_kernels(*kernels):
    """Flax' q, k, v kernels [D, h, d] to one fused [D, 3 D]."""
    return np.concatenate([kernel.reshape(len(kernel), -1) for kernel in kernels], axis=1)


def merge_qkv_biases(*biases):
    """Flax' q, k, v biases [h, d] to one fused [3 D]."""
    return np.concatenate([bias.reshape(-1) for bias in biases])
