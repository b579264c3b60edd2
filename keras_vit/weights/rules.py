"""Checkpoint rules: which entry of a file becomes which variable of a model, as data.

A model file lists, beside its layers, one `Layout` per published file format. A layout is a table of rules

    Rule("layers.{s}.blocks.{b}.norm1.weight", "stage{s}_block{b}/norm1/gamma")

where `{s}` and `{b}` stand for integers, `{s+1}` for an integer one larger than the `s` of the other side; the whole
name must match. Of every layout the engine demands two things: every entry of the file is used once or ignored by name,
and every variable of the model is assigned once. `match` works on names alone. `keras_vit.weights.writing` reads the
same rules backwards, from a model to the files of a library.
"""

import functools
import operator
import re
from dataclasses import dataclass, field
from typing import Callable, Mapping

import numpy as np

PLACE, INTEGER = re.compile(r"\{(\w+)([+-]\d+)?\}"), re.compile(r"\d+")
LIBRARIES = ("timm", "transformers")  # whose layouts are written too


@dataclass(frozen=True)
class Transform:
    """What happens to an entry on its way into a variable, and on its way back.

    Attributes:
        forward: stored arrays -> array in Keras' layout.
        backward: array in Keras' layout -> the stored array, or a tuple of one per source, in which None leaves a
            source to another rule; None where files of the layout are read only.
    """

    forward: Callable
    backward: Callable | None = None

    def __call__(self, *arrays):
        return self.forward(*arrays)


AS_STORED = Transform(lambda array: array, lambda array: array)


@dataclass(frozen=True)
class Rule:
    """One line of a layout.

    Attributes:
        sources: name patterns in the file; `transform` gets the arrays of all of them (q, k, v -> qkv).
        target: path pattern of the variable; None ignores the entry.
        transform: a `Transform`.
        aliases: further names under which the first source may appear, once or repeatedly, with equal values. Files of
            the library that is named by the layout hold it under all of them.
        supplied: of an ignored entry that the library wants all the same: (path pattern, function), which makes the
            entry from each variable that has such a path.
    """

    sources: tuple[str, ...]
    target: str | None
    transform: Transform = AS_STORED
    aliases: tuple[str, ...] = ()
    supplied: tuple[str, Callable] | None = None


@dataclass(frozen=True)
class Layout:
    """A published file format.

    Attributes:
        name: of the format. If its first word is a library's (`LIBRARIES`), models are written in it too.
        rules: the first that fits a name wins, in either direction.
        resamplers: those that differ from the family's own.
        suits: {path of a variable: shape} -> whether the library has such a model under these names. A model is written
            in the first layout of the library that suits it.

    Raises:
        ValueError: for a layout of a library with a rule that cannot be read backwards.
    """

    name: str
    rules: tuple[Rule, ...]
    resamplers: Mapping[str, Callable] = field(default_factory=dict)
    suits: Callable = lambda shapes: True

    def __post_init__(self):
        if self.library in LIBRARIES:
            _require_inverse(self)

    def rule_of(self, name):
        """The first rule whose first source, or an alias of it, matches `name`, and the integers; else (None, None)."""
        for _, rule, pattern in sorted(
            [*self._alike.get(_skeleton(name), ()), *self._wild], key=operator.itemgetter(0)
        ):
            numbers = bind(pattern, name)
            if numbers is not None:
                return rule, numbers
        return None, None

    def rule_for(self, path):
        """The first rule whose target matches the path of a variable, and the integers; None if there is none."""
        for rule in self.rules:
            numbers = bind(rule.target, path) if rule.target else None
            if numbers is not None:
                return rule, numbers
        return None

    @functools.cached_property
    def _alike(self):
        """{skeleton: [(position, rule, pattern)]}: most rules need not be tried."""
        found = {}
        for line in self._patterns:
            found.setdefault(_skeleton(PLACE.sub("0", line[2])), []).append(line)
        return found

    @functools.cached_property
    def _wild(self):
        """Those with a `*`."""
        return [line for line in self._patterns if "*" in line[2]]

    @property
    def skeletons(self):
        """Those of all names that a rule uses, but for rules with a `*`."""
        further = {_skeleton(PLACE.sub("0", source)) for rule in self.rules for source in rule.sources[1:]}
        return self._alike.keys() | further

    @property
    def wild(self):
        """The patterns with a `*`."""
        return [pattern for _, _, pattern in self._wild]

    @property
    def _patterns(self):
        return [(i, rule, pattern) for i, rule in enumerate(self.rules) for pattern in (rule.sources[0], *rule.aliases)]

    @property
    def library(self):
        """The library that reads and writes such files, or another word for where they come from."""
        return self.name.split()[0]


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


def param(source, target, transform=AS_STORED, aliases=()):
    """One entry to one variable. A plain function as `transform` can be read forwards only."""
    return (Rule((source,), target, _transform(transform), tuple(aliases)),)


def norm(source, target):
    """Scale and shift of a LayerNorm, GroupNorm or BatchNorm."""
    return param(f"{source}.weight", f"{target}/gamma") + param(f"{source}.bias", f"{target}/beta")


def dense(source, target, aliases=(), ndim=2):
    """A Linear (out, in), or a 1 x 1 convolution used as one, to a Dense kernel (in, out); its bias where it has one.

    Here and below, `aliases` are further names of the whole layer, for layers that a file stores several times.

    Args:
        ndim: of the stored weight: 2 for a Linear, 3 or 4 for a convolution. Either is read.
    """
    ones = (1,) * (ndim - 2)
    transform = Transform(lambda w: w.reshape(w.shape[:2]).T, lambda k: k.T.reshape(*k.shape[::-1], *ones))
    return _weight_and_bias(source, target, transform, aliases)


def fused_dense(sources, target):
    """Several Linear layers of one input and of equal width, side by side in one Dense: query, key and value."""
    kernel = Transform(lambda *ws: np.concatenate(ws).T, lambda k: tuple(np.split(k.T, len(sources))))
    bias = Transform(lambda *bs: np.concatenate(bs), lambda b: tuple(np.split(b, len(sources))))
    weight = fuse([f"{source}.weight" for source in sources], f"{target}/kernel", kernel)
    return weight + fuse([f"{source}.bias" for source in sources], f"{target}/bias", bias)


def conv(source, target, aliases=()):
    """A convolution (O, I, kh, kw) to (kh, kw, I, O); its bias where it has one."""
    transform = Transform(lambda w: w.transpose(2, 3, 1, 0), lambda k: k.transpose(3, 2, 0, 1))
    return _weight_and_bias(source, target, transform, aliases)


def depthwise(source, target, aliases=()):
    """A depthwise convolution (C, 1, kh, kw) to (kh, kw, C, 1); its bias where it has one."""
    transform = Transform(lambda w: w.transpose(2, 3, 0, 1), lambda k: k.transpose(2, 3, 0, 1))
    return _weight_and_bias(source, target, transform, aliases)


def _weight_and_bias(source, target, transform, aliases):
    weights, biases = ([f"{alias}.{part}" for alias in aliases] for part in ("weight", "bias"))
    weight = param(f"{source}.weight", f"{target}/kernel", transform, weights)
    return weight + param(f"{source}.bias", f"{target}/bias", aliases=biases)


def fuse(sources, target, transform):
    """Several entries to one variable. A plain function as `transform` can be read forwards only."""
    return (Rule(tuple(sources), target, _transform(transform)),)


def _transform(function):
    return function if isinstance(function, Transform) else Transform(function)


def supply(source, path, make):
    """An entry that no model here needs but that the library wants: ignored when read, and made when written.

    Args:
        source: name pattern in the file.
        path: pattern of a variable with the same placeholders; where the model has such a variable, there is an entry.
        make: the variable's array -> the entry.
    """
    return (Rule((source,), None, supplied=(path, make)),)


def ignore(*patterns):
    """Entries of a file that no model needs: buffers recomputed from the architecture, unused parameters.

    `*` matches any text.
    """
    return tuple(Rule((pattern,), None) for pattern in patterns)


def _require_inverse(layout):
    """Raises unless every variable has one way back into a file of the layout."""
    targets = [rule.target for rule in layout.rules]
    for i, rule in enumerate(layout.rules):
        target = rule.target or (rule.supplied[0] if rule.supplied else None)
        if target is None:
            continue
        bound = {letter for letter, _ in PLACE.findall(target)}
        free = {letter for source in rule.sources for letter, _ in PLACE.findall(source)} - bound
        why = (
            "has no backward"
            if rule.transform.backward is None
            else f"does not say what {sorted(free)} are in {rule.sources}" if free else None
        )
        if rule.target in targets[:i] and rule.target is not None:
            why = "has several names in a file; split the layout in two and say which `suits` a model"
        if why:
            raise ValueError(
                f"layout {layout.name!r}: models are written in this layout, but the rule for {target!r} {why}. "
                "Expected a Transform(forward, backward), and one rule per variable."
            )


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


def _skeleton(name):
    """A name with `#` for each integer: what a pattern and the names that it matches have in common."""
    return INTEGER.sub("#", name)


def bind(pattern, name):
    """The integers for which `pattern` is `name`, as a dict, or None."""
    regex, places = _compile(pattern)
    found = regex.fullmatch(name)
    if not found:
        return None
    numbers = {letter: int(text) - offset for (letter, offset), text in zip(places, found.groups())}
    return None if any(n < 0 for n in numbers.values()) else numbers


def spell(pattern, numbers):
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
        rule, numbers = layout.rule_of(name)
        if rule is None:
            continue
        if rule.target is None:
            used.add(name)
            continue
        group = (name, *(spell(source, numbers) for source in rule.sources[1:]))
        if present.issuperset(group):
            used.update(group)
            candidates.setdefault(spell(rule.target, numbers), []).append((rule, group))
    assignments = {
        target: Assignment(*found[0], duplicates=tuple(group[0] for _, group in found[1:]))
        for target, found in candidates.items()
    }
    return Match(layout, assignments, tuple(name for name in names if name not in used))


def knower(layouts):
    """A function of a name: whether a rule of one of the layouts is likely to match it. It takes a microsecond."""
    skeletons = {skeleton for layout in layouts for skeleton in layout.skeletons}
    wild = [_compile(pattern)[0] for layout in layouts for pattern in layout.wild]
    return lambda name: _skeleton(name) in skeletons or any(pattern.fullmatch(name) for pattern in wild)


def best_match(layouts, names, targets):
    """The `Match` of the layout with the fewest unused entries and unassigned variables; the first of equals."""
    targets = set(targets)

    def shortfall(found):
        return len(found.unexpected) + len(targets.symmetric_difference(found.assignments))

    return min((match(layout, names) for layout in layouts), key=shortfall)


def own_layout(targets, head=()):
    """The layout of this library's own files: the entries have the names of the variables.

    Args:
        targets: paths of the model's variables.
        head: names of the classifier's layers, which a file may have and the model not.
    """
    classifier = (f"{layer}/{kind}" for layer in head for kind in ("kernel", "bias"))
    return Layout("keras_vit", tuple(Rule((path,), path) for path in dict.fromkeys([*targets, *classifier])))


def merge_qkv_kernels(*kernels):
    """Flax' q, k, v kernels (D, h, d) to one fused kernel (D, 3 D)."""
    return np.concatenate([kernel.reshape(len(kernel), -1) for kernel in kernels], axis=1)


def merge_qkv_biases(*biases):
    """Flax' q, k, v biases (h, d) to one fused bias (3 D,)."""
    return np.concatenate([bias.reshape(-1) for bias in biases])
