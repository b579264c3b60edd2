"""Bytes of valid files, changed: the kinds of change that find faults in readers, as Hypothesis strategies."""

import struct

from hypothesis import strategies

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**24, 2**31 - 1, 2**31, 2**32 - 1)  # where sizes turn odd


@strategies.composite
def mutated(draw, contents):
    """One of `contents`, bytes, after one to four changes: cut, flipped, overwritten, inserted, repeated, moved."""
    content = bytearray(draw(strategies.sampled_from(contents)))
    for _ in range(draw(strategies.integers(1, 4))):
        if content:
            draw(strategies.sampled_from(CHANGES))(draw, content)
    return bytes(content)


def _place(draw, content):
    """A position, in the first 200 bytes, where headers lie, as often as anywhere."""
    within = len(content) if draw(strategies.booleans()) else min(len(content), 200)
    return draw(strategies.integers(0, within - 1))


def _cut(draw, content):
    del content[_place(draw, content) :]


def _flip(draw, content):
    content[_place(draw, content)] ^= 1 << draw(strategies.integers(0, 7))


def _overwrite(draw, content):
    start, new = _place(draw, content), draw(strategies.binary(min_size=1, max_size=8))
    content[start : start + len(new)] = new


def _number(draw, content):
    start, number = _place(draw, content), draw(strategies.sampled_from(NUMBERS))
    form = draw(strategies.sampled_from([">I", "<I", ">H", "<H", "B"]))
    size = struct.calcsize(form)
    content[start : start + size] = struct.pack(form, number % 256**size)


def _insert(draw, content):
    start = _place(draw, content)
    content[start:start] = draw(strategies.binary(min_size=1, max_size=20))


def _remove(draw, content):
    start = _place(draw, content)
    del content[start : start + draw(strategies.integers(1, 20))]


def _repeat(draw, content):
    start = _place(draw, content)
    part = content[start : start + draw(strategies.integers(1, 200))]
    content[start:start] = part * draw(strategies.integers(1, 3))


def _move(draw, content):
    start, length = _place(draw, content), draw(strategies.integers(1, 60))
    part = content[start : start + length]
    del content[start : start + length]
    to = draw(strategies.integers(0, len(content)))
    content[to:to] = part


CHANGES = (_cut, _flip, _flip, _overwrite, _number, _number, _insert, _remove, _repeat, _move)
