"""JSON from elsewhere, parsed within limits: how deep it is nested, and how long its numbers are.

Python's parser has no such limits of its own that are the same in all versions: recursion ends elsewhere in each, and a
float of 20 million digits takes 20 seconds, in which no other thread runs. Both are found in the bytes, before they
are parsed.
"""

import json

import numpy as np

from keras_vit.system.limits import MAX_NESTING, MAX_NUMBER

BLOCK = 2**18  # bytes that are looked at together; a processor's cache has room for them
NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
STEPS = np.zeros(256, np.int8)
STEPS[list(b"[{")], STEPS[list(b"]}")] = 1, -1
DIGITS = bytes(ord("0") if chr(byte) in "0123456789+-.eE" else byte for byte in range(256))
LONG = b"0" * (MAX_NUMBER // 2)  # also of a number that two blocks share


def parse(body):
    """The value of a JSON document in bytes: UTF-8 or, as `json.loads` has it, UTF-16 and UTF-32.

    Raises:
        json.JSONDecodeError: if it is not JSON.
        ValueError: if it is in no such encoding, or exceeds a limit.
    """
    encoding = json.detect_encoding(body)
    text = body.decode(encoding, "surrogatepass")
    if encoding != "utf-8":
        body = text.encode("utf-8", "surrogatepass")
    depth, is_long = 0, False
    for block in outside_of_strings(body):
        depth = _follow(block, depth)
        is_long = is_long or LONG in block.translate(DIGITS)
    if not is_long:  # which is nearly always so, and without the functions below it is faster
        return json.loads(text)
    return json.loads(text, parse_int=_limited(int), parse_float=_limited(float))


def outside_of_strings(body):
    """What stands outside the strings of a JSON document, in blocks; right up to its first error, where parsers end."""
    in_string, start = 0, 0
    while start < len(body):
        end = start + BLOCK
        while body[end - 1 : end] == b"\\":  # what it escapes belongs to the same block
            end += 1
        block = body[start:end]
        if b"\\" in block:
            block = block.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = block.split(b'"')  # in turn outside and inside
        yield b"".join(parts[in_string::2])
        in_string, start = (in_string + len(parts) - 1) % 2, end


def _follow(block, depth):
    """The depth of lists and objects after a block; `ValueError` if it is too large somewhere in it."""
    brackets = np.frombuffer(block.translate(None, NOT_BRACKETS), np.uint8)
    if not len(brackets):
        return depth
    depths = depth + np.cumsum(STEPS[brackets], dtype=np.int64)
    if depths.max() > MAX_NESTING:
        raise ValueError(f"nested too deeply: at most {MAX_NESTING} levels are read.")
    return depths[-1]


def _limited(convert):
    """What converts the text of a number, if it is not too long."""

    def number(text):
        if len(text) > MAX_NUMBER:
            raise ValueError(f"a number of {len(text)} characters: at most {MAX_NUMBER} are read.")
        return convert(text)

    return number
