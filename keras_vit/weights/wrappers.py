"""What training scripts put around weights, taken off: dictionaries, prefixes, a moving average beside the weights.

A file is read in several ways, each of which takes something off the names of its entries: a dictionary ("state_dict"),
a prefix ("module."), several in each other. `choose` takes the one that fits a model. Containers do not matter: in a
.safetensors file "model_ema.norm.weight" is what it is in the dictionary "model_ema" of a .pth file.

Where there is a moving average beside the weights, it is taken, as timm does. Of any others that fit, none is guessed.
"""

import collections
import dataclasses
import functools
import math
import re

import numpy as np

from keras_vit.weights import rules
from keras_vit.weights.entries import Entries, WeightFileError

AVERAGES = frozenset(
    "model_ema state_dict_ema ema ema_model ema_state_dict model_ema_state_dict ema_model_state_dict ema_weights "
    "params_ema ema_params averaged_model averaging_state swa_model shadow".split()
)
WEIGHTS = frozenset(  # dictionaries of a checkpoint; in one file, each is a set of weights by itself
    "state_dict model model_state_dict model_state model_weights net network weights params parameters module student "
    "teacher current_model_state generator".split()
)
PREFIXES = frozenset(  # attributes that hold a model
    "module _orig_mod model backbone encoder net network vit trunk visual image_encoder feature_extractor base".split()
)
TRAINING = frozenset(  # what is no weights, though it may have their names
    "optimizer optimizers optim opt optimizer_state optimizer_state_dict optimizer_states exp_avg exp_avg_sq "
    "momentum_buffer lr_scheduler scheduler scaler loss_scaler".split()
)
# torch.compile, FSDP, activation checkpointing and DeepSpeed: put around parts of a model, too.
ANYWHERE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.")
COUNTERS = frozenset(
    "n_averaged num_updates decay epoch step steps global_step iteration iter".split()
)  # single numbers

SEPARATOR = re.compile(r"[./]")
SETS = WEIGHTS | AVERAGES
PART = 5  # entries: fewer may be a part of the weights beside, such as a classifier
MANY, MOST = 32, 8  # ways to read a file that are looked at, and those that are matched with a model
NESTED = 6  # prefixes in each other


@dataclasses.dataclass(frozen=True)
class Reading:
    """One way to read a file.

    Attributes:
        names: {name that is left: name in the file}.
        taken_off: the dictionaries and prefixes that were taken off, from the outermost.
        put_on: a prefix that files of a bare model lack.
    """

    names: dict
    taken_off: tuple[str, ...] = ()
    put_on: str = ""

    @property
    def is_average(self):
        """Whether it is a moving average, by the name of its dictionary."""
        return any(part in AVERAGES for prefix in self.taken_off for part in SEPARATOR.split(prefix))

    def __str__(self):
        off = f"{''.join(self.taken_off)!r} taken off" if self.taken_off else ""
        on = f"{self.put_on!r} put on" if self.put_on else ""
        return " and ".join(filter(None, (off, on)))


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The reading of a file that fits a model: its entries, how they match, and what else there is.

    Attributes:
        beside: the names of other weights in the file that fit, where a moving average was taken.
        average: the name of a moving average in the file that does not fit.
        left_out: entries of the file that do not belong to what was taken.
    """

    reading: Reading
    entries: Entries
    match: rules.Match
    beside: tuple[str, ...] = ()
    average: str = ""
    left_out: tuple[str, ...] = ()


def likeliest(entries, layouts):
    """The entries of a file under the names that most rules of the layouts know, before there is a model."""
    reading = _readings(entries, layouts)[0]
    return entries.renamed(reading.names)


def choose(entries, layouts, shapes, head=(), movable=lambda path: False):
    """The reading of a file that fits a model, by names; of several, by shapes; a moving average of two.

    Args:
        entries: all `Entries` of the file.
        layouts: that the model's family has.
        shapes: {path of a variable: shape}.
        head: names of the classifier's layers, which the file may have for other classes or not at all.
        movable: whether the variable of a path may have another shape in the file.

    Returns:
        A `Chosen`. If nothing fits, that which comes closest; the match then says what is missing and unexpected.

    Raises:
        ValueError: if several fit and none is a moving average, or several are.
    """
    layouts = (*layouts, rules.own_layout(shapes, head))
    tried = [_Tried.of(reading, layouts, shapes, head) for reading in _readings(entries, layouts)]
    fitting = _distinct([one for one in tried if not one.misfit])
    if len(fitting) > 1:
        stored = entries.shapes()
        misfits = [one.misfits_of_shape(stored, shapes, head, movable) for one in fitting]
        fitting = [one for one, misfit in zip(fitting, misfits) if misfit == min(misfits)]
    averages = [one for one in tried if one.reading.is_average and len(one.match.assignments) >= PART]
    chosen = min(fitting or tried, key=lambda one: one.order)
    beside = ()
    if complete := [one for one in averages if one.misfit == len(one.match.unexpected) > 0]:
        chosen = complete[0]  # it has more than the model needs: an error says what
    elif len(fitting) > 1:
        chosen, beside = _of_several(entries, fitting)
    average = _name(averages[0].reading) if averages and not chosen.reading.is_average else ""
    taken = set(chosen.reading.names.values())
    left_out = tuple(name for name in entries if name not in taken)
    return Chosen(chosen.reading, entries.renamed(chosen.reading.names), chosen.match, beside, average, left_out)


def _of_several(entries, fitting):
    """(the one to take of several that fit, the names of the others); an error where that would be a guess."""
    averages = [one for one in fitting if one.reading.is_average]
    rivals = averages or fitting
    if any(not _equal(entries, rivals[0], other) for other in rivals[1:]):
        names = [_name(one.reading) for one in fitting]
        raise WeightFileError(
            f"{entries.path} holds several sets of weights that fit this model: {', '.join(map(repr, names))}. "
            "Expected one, or one and its moving average. Save the one that is meant into a file of its own, e.g. the "
            f"dictionary, or the entries whose names begin with, {names[0]!r}."
        )
    return rivals[0], tuple(_name(one.reading) for one in fitting if one not in rivals)


def _name(reading):
    """What a dictionary or prefix is called in messages."""
    return "".join(reading.taken_off).rstrip("./") or "the outermost names"


def _equal(entries, one, other):
    """Whether two readings give a model the same numbers."""
    return set(one.match.assignments) == set(other.match.assignments) and all(
        np.array_equal(entries[name], entries[twin])
        for target, assignment in one.match.assignments.items()
        for name, twin in zip(one.stored(assignment), other.stored(other.match.assignments[target]), strict=True)
        if name != twin
    )


@dataclasses.dataclass(frozen=True)
class _Tried:
    """A reading matched with a model."""

    reading: Reading
    match: rules.Match
    misfit: int  # variables without an entry and entries without a variable, but for the classifier's
    order: tuple  # of preference, the smallest first

    @classmethod
    def of(cls, reading, layouts, shapes, head):
        match = rules.best_match(layouts, reading.names, shapes)
        needed = {path for path in shapes if not _is_in(path, head)}
        given = {path for path in match.assignments if not _is_in(path, head)}
        misfit = len(needed ^ given) + len(match.unexpected)
        lacking = len(set(shapes) - set(match.assignments))
        return cls(reading, match, misfit, (misfit, lacking, not reading.is_average, len(reading.taken_off)))

    def stored(self, assignment):
        """The names in the file of an assignment's entries."""
        return tuple(self.reading.names[name] for name in assignment.names)

    @property
    def sources(self):
        """The names in the file of all that it gives to the model."""
        return frozenset(name for found in self.match.assignments.values() for name in self.stored(found))

    def misfits_of_shape(self, stored, shapes, head, movable):
        """(variables whose entries have another number of numbers; the same in the classifier)."""
        wrong = []
        for path, shape in shapes.items():
            assignment = self.match.assignments.get(path)
            count = sum(math.prod(stored[name]) for name in self.stored(assignment)) if assignment else None
            if count != math.prod(shape) and not (assignment and movable(path)):
                wrong.append(_is_in(path, head))
        return len(wrong) - sum(wrong), sum(wrong)


def _is_in(path, head):
    return path.split("/")[0] in head


def _distinct(tried):
    """Those that give a model other entries of the file than all before them."""
    found = {}
    for one in sorted(tried, key=lambda one: one.order):
        found.setdefault(one.sources, one)
    return list(found.values())


# Ways to read a file -------------------------------------------------------------------------------------------------


def _readings(entries, layouts):
    """The ways to read a file, at most MOST; those whose names the layouts know best come first."""
    knows, plain = rules.knower(layouts), _plain(entries)
    waiting = collections.deque([lambda: plain, *_of_dictionaries(plain, entries.dictionaries, knows)])
    found = []
    while waiting and len(found) < MANY:
        reading = waiting.popleft()()
        found.append(reading)
        if len(reading.taken_off) < NESTED:
            waiting += _of_prefixes(reading)
    bare = [_with(reading, prefix, knows) for reading in found for prefix in _bases(layouts)]
    found += [reading for reading in bare if reading is not None]

    def unknown(reading):
        known = sum(map(knows, reading.names))
        return len(reading.names) - 2 * known, not reading.is_average, len(reading.taken_off)

    return sorted(found, key=unknown)[:MOST]


def _plain(entries):
    """The names of a file, without counters and without what is put around any part of a model."""
    names = {}
    for name, shape in entries.shapes().items():
        if math.prod(shape) == 1 and SEPARATOR.split(name)[-1] in COUNTERS:
            continue
        short = functools.reduce(lambda text, part: text.replace(part, ""), ANYWHERE, name)
        names[name if short in names else short] = name
    return Reading(names)


def _of_dictionaries(plain, dictionaries, knows):
    """What makes a reading of each dictionary in a file, the largest first.

    What lies outside is left out, but for what a layout knows: the head beside a backbone.
    """
    home = {stored: dictionary for dictionary, names in dictionaries.items() for stored in names}

    def reading(chosen):
        prefix = f"{chosen}." if chosen else ""
        own = {name.removeprefix(prefix): stored for name, stored in plain.names.items() if home[stored] == chosen}
        for name, stored in plain.names.items():
            if len(dictionaries[home[stored]]) < PART and knows(name):
                own.setdefault(name, stored)
        return Reading(own, (prefix,) if prefix else ())

    weights = [name for name in dictionaries if not TRAINING & set(name.split(".")) and dictionaries.keys() != {""}]
    largest = sorted(weights, key=lambda name: -len(dictionaries[name]))
    return [functools.partial(reading, name) for name in largest[:MANY]]


def _of_prefixes(reading):
    """What makes a reading of each prefix that can be taken off another: a known one, or any that all names have."""
    firsts = {name: SEPARATOR.split(name, maxsplit=1)[0] for name in reading.names if SEPARATOR.search(name)}
    count = collections.Counter(firsts.values())

    def stripped(part):
        inside, outside = {}, {}
        for name, stored in reading.names.items():
            first = firsts.get(name)
            if first == part:
                inside[name[len(part) + 1 :]] = stored
            elif first not in TRAINING | AVERAGES and not (part in SETS and first in SETS and count[first] >= PART):
                outside[name] = stored
        outside = {f"/{name}" if name in inside else name: stored for name, stored in outside.items()}
        return Reading(outside | inside, (*reading.taken_off, f"{part}."))

    words = [part for part in count if part in SETS | PREFIXES or count[part] == len(reading.names)]
    return [functools.partial(stripped, part) for part in words]


def _with(reading, prefix, knows):
    """A reading with a prefix put on the names that are known with it alone; None if they are few."""
    names = {
        f"{prefix}{name}" if knows(prefix + name) and not knows(name) else name: stored
        for name, stored in reading.names.items()
    }
    changed = len(names.keys() - reading.names.keys())
    return dataclasses.replace(reading, names=names, put_on=prefix) if changed >= PART else None


def _bases(layouts):
    """The prefixes that all rules of a layout have, but for a classifier: "vit." of transformers' files."""
    found = {}
    for layout in layouts:
        firsts = collections.Counter(rule.sources[0].split(".")[0] for rule in layout.rules)
        (base, count), *_ = firsts.most_common(1)
        if base.isidentifier() and count > PART and count >= len(layout.rules) - PART:
            found[f"{base}."] = None
    return list(found)
