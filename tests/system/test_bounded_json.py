"""JSON is parsed as Python's parser does it, but for what is nested too deeply or has too long numbers."""

import json
import re

import hypothesis
import pytest
from hypothesis import strategies

from keras_vit.system import bounded_json
from keras_vit.system.limits import MAX_NESTING, MAX_NUMBER
from tests.hostile.many import examples

TEXTS = strategies.text(strategies.sampled_from('[]{}"\\/nu0123456789 eE+-.,:é嬀☃'))
VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats(allow_nan=False) | TEXTS,
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@hypothesis.given(
    value=VALUES, plain=strategies.booleans(), encoding=strategies.sampled_from(["utf-8", "utf-16", "utf-32"])
)
@examples(100)
def test_what_is_within_the_limits_is_parsed_as_by_python(value, plain, encoding):
    assert bounded_json.parse(json.dumps(value, ensure_ascii=plain).encode(encoding)) == value


@hypothesis.given(value=VALUES, block=strategies.integers(1, 9))
@examples(100)
def test_blocks_may_end_anywhere(value, block):
    document = json.dumps(value, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_json, "BLOCK", block)
        outside = b"".join(bounded_json.outside_of_strings(document))
    assert outside == re.sub(rb'"(?:[^"\\]|\\.)*"', b"", document)


OPEN, CLOSE = {"lists": b"[", "objects": b'{"":', "strings with brackets": b'["]]}}\\"]",'}, {"objects": b"}"}


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-8-sig"])
def test_the_limit_of_nesting_is_exact(kind, encoding):
    def nested(levels):
        text = OPEN[kind] * levels + b"1" + CLOSE.get(kind, b"]") * levels
        return text.decode().encode(encoding)

    assert bounded_json.parse(nested(MAX_NESTING))
    for levels in (MAX_NESTING + 1, 900, 100_000):
        with pytest.raises(ValueError, match="nested too deeply: at most 100 levels"):
            bounded_json.parse(nested(levels))


def test_brackets_in_strings_do_not_count():
    value = {"a": "[" * 10_000 + '"' + "{" * 10_000 + "\\", '[[[["': ["]" * 10**6, '\\"[']}
    assert bounded_json.parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "document", [b"[" * 10**6, b"]" * 300 + b"[" * 500, b'["' + b"\\" * 10**6, b'"' * 10**6, b"\\" * 9]
)
def test_what_is_no_json_is_refused(document):
    with pytest.raises(ValueError):
        bounded_json.parse(document)


NUMBERS = {
    "integer": lambda size: "9" * size,
    "negative": lambda size: "-" + "9" * (size - 1),
    "decimal places": lambda size: "1." + "1" * (size - 2),
    "leading zeros": lambda size: "0." + "0" * (size - 3) + "1",
    "exponent": lambda size: "1e" + "9" * (size - 2),
    "negative exponent": lambda size: "1E-" + "0" * (size - 4) + "1",
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("before", ["", " " * (bounded_json.BLOCK - 300)])  # which ends a block within the number
def test_the_limit_of_numbers_is_exact(kind, before):
    def document(size):
        return f'{before}{{"a": [1.5, {NUMBERS[kind](size)}], "b": "{"7" * 5000}"}}'.encode()

    assert bounded_json.parse(document(MAX_NUMBER)) == json.loads(document(MAX_NUMBER))
    for size in (MAX_NUMBER + 1, 5000, 10**6):
        with pytest.raises(ValueError, match=f"a number of {size} characters: at most 1024"):
            bounded_json.parse(document(size))


def test_digits_in_strings_do_not_count():
    assert bounded_json.parse(b'["' + b"0" * 10**6 + b'"]') == ["0" * 10**6]
