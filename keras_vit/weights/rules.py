"""Checkpoint rules: which entry of a file becomes which variable of a model, as data.

A model file lists, beside its layers, one `Layout` per published file format. A layout is a table of rules

    Rule("layers.{s}.blocks.{b}.norm1.weight", "stage{s}_block{b}/norm1/gamma")

where `{s}` and `{b}` stand for integers, `{s+1}` for an integer one larger than the `s` of the other side; the whole
name must match. Of every layout the engine demands two things: every entry of the file is used once or ignored by name,
and every variable of the model is assigned once. `match` works on names alone.
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
        sources: name patterns in the file; `transform` gets the arrays of all of them (q, k, v -> qkv).
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
    """The source of one variable: the rule, its entries, and their duplicates under other names."""

    rule: Rule
    names: tuple[str, ...]
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """A layout matched with the names of a file: the source of each variable, and entries that no rule uses."""

    layout: Layout
    assignments: Mapping[str, Assignment]
    unexpected: tuple[str, ...]


# Rules for the layers that occur everywhere --------------------------------------------------------------------------


def param(source, target, transform=lambda array: array, aliases=()):
    """One entry to one variable."""
    return (Rule((source,), target, transform, tuple(aliases)),)


def norm(source, target):
    """Scale and shift of a LayerNorm, GroupNorm or BatchNorm."""
    return param(f"{source}.weight", f"{target}/gamma") + param(f"{source}.bias", f"{target}/beta")


def dense(source, target, aliases=()):
    """A Linear (out, in), or a 1 x 1 convolution used as one, to a Dense kernel (in, out); its bias where it has one.

    Here and below, `aliases` are further names of the whole layer, for layers that a file stores several times.
    """
    return _weight_and_bias(source, target, lambda w: w.reshape(w.shape[:2]).T, aliases)


def conv(source, target, aliases=()):
    """A convolution (O, I, kh, kw) to (kh, kw, I, O); its bias where it has one."""
    return _weight_and_bias(source, target, lambda w: w.transpose(2, 3, 1, 0), aliases)


def depthwise(source, target, aliases=()):
    """A depthwise convolution (C, 1, kh, kw) to (kh, kw, C, 1); its bias where it has one."""
    return _weight_and_bias(source, target, lambda w: w.transpose(2, 3, 0, 1), aliases)


def _weight_and_bias(source, target, transform, aliases):
    weights, biases = ([f"{alias}.{part}" for alias in aliases] for part in ("weight", "bias"))
    weight = param(f"{source}.weight", f"{target}/kernel", transform, weights)
    return weight + param(f"{source}.bias", f"{target}/bias", aliases=biases)


def fuse(sources, target, transform):
    """Several entries to one variable."""
    return (Rule(tuple(sources), target, transform),)


def ignore(*patterns):
    """Entries of a file that no model needs: buffers recomputed from the architecture, unused parameters.

    `*` matches any text.
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
    """The integers for which `pattern` is `name`, as a dict, or None."""
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
    """Match a layout with the names of a file, not yet with its shapes. The first rule that fits a name wins.

    Returns:
        A `Match`. A rule with several sources assigns its variable only if all of them are there; otherwise those
        found count as unexpected.
    """
    names, used, candidates = list(names), set(), {}
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
            candidates.setdefault(_spell(rule.target, numbers), []).append((rule, group))
    assignments = {
        target: Assignment(*found[0], duplicates=tuple(group[0] for _, group in found[1:]))
        for target, found in candidates.items()
    }
    return Match(layout, assignments, tuple(name for name in names if name not in used))


def _first_rule(layout, name):
    """The first rule whose first source, or an alias of it, matches `name`, and the integers; else (None, None)."""
    for rule in layout.rules:
        for pattern in (rule.sources[0], *rule.aliases):
            numbers = _bind(pattern, name)
            if numbers is not None:
                return rule, numbers
    return None, None


def best_match(layouts, names, targets):
    """The `Match` of the layout with the fewest unused entries and unassigned variables; the first of equals."""
    targets = set(targets)

    def shortfall(found):
        return len(found.unexpected) + len(targets.symmetric_difference(found.assignments))

    return min((match(layout, names) for layout in layouts), key=shortfall)


def own_layout(targets):
    """The layout of this library's own files: the entries have the names of the variables."""
    return Layout("keras_vit", tuple(Rule((path,), path) for path in targets))


def merge_qkv_kernels(*kernels):
    """Flax' q, k, v kernels (D, h, d) to one fused kernel (D, 3 D)."""
    return np.concatenate([kernel.reshape(len(kernel), -1) for kernel in kernels], axis=1)


def merge_qkv_biases(*biases):
    """Flax' q, k, v biases (h, d) to one fused bias (3 D,)."""
    return np.concatenate([bias.reshape(-1) for bias in biases])
