"""Lists of hosts in the compressed form of Slurm: n[01-03,7],gpu1 is n01, n02, n03, n7 and gpu1."""

import itertools
import re

MOST = 65536  # hosts; a mistyped range would fill the memory
RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def expand(text, name="--hosts"):
    """The hosts of a list, in its order.

    Brackets hold numbers and ranges of numbers, as wide as the first of a range is written; a name may have several,
    anywhere in it: "r[1-2]n[0-1].cluster" is r1n0.cluster, r1n1.cluster, r2n0.cluster, r2n1.cluster.

    Args:
        text: the list.
        name: of the variable or option that it comes from, for errors.
    Raises:
        ValueError: for a list that is none.
    """
    hosts = []
    for entry in _split(text, name):
        parts = [_part(part, text, name) for part in re.split(r"(\[[^\[\]]*\])", entry) if part]
        hosts += map("".join, itertools.islice(itertools.product(*parts), MOST + 1))
        if len(hosts) > MOST:
            raise ValueError(f"{name} must not name more than {MOST} hosts. Received: {text[:200]}.")
    return hosts


def _split(text, name):
    """The entries between the commas that are outside of brackets."""
    entries = [entry.strip() for entry in re.split(r",(?![^\[\]]*\])", text)]
    if not all(entries):
        raise ValueError(f"{name} must list hosts, joined by commas. Received: {text[:200]!r}.")
    return entries


def _part(part, text, name):
    """The texts that a part of an entry stands for."""
    if not part.startswith("["):
        if re.search(r"[\[\]\s]", part):
            raise _unreadable(text, name)
        return [part]
    numbers = []
    for piece in part[1:-1].split(","):
        match = RANGE.fullmatch(piece.strip())
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise _unreadable(text, name)
        first, last = int(match[1]), int(match[2] or match[1])
        numbers += [f"{number:0{len(match[1])}d}" for number in range(first, min(last, first + MOST) + 1)]
    return numbers


def _unreadable(text, name):
    return ValueError(
        f"{name} must list hosts in the form n[01-03,7],gpu1: whole numbers and ascending ranges in the brackets. "
        f"Received: {text[:200]!r}."
    )
