"""The machine gives what Python's unpickler gives for plain values; nothing of a file is called, hashed or altered."""

import pickle

import pytest

from keras_vit.system import limits
from keras_vit.weights import pickles
from keras_vit.weights.pickles import OPAQUE, Fixed, Function, RefusedError

PLAIN = [
    None,
    True,
    [1, -2, 300, 70_000, 2**31, -(2**40), 2**70, -(2**70), 0],
    ["", "a", "é", "漢" * 300, "\ud800"],
    [b"", b"x" * 300],
    [0.0, -1.5, 1e300],
    {"a": {"b": [1, 2]}, "c": ()},
    ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    [[], {}, [[]]],
]


class Record(Fixed):
    """What a pickle may hold and not alter."""


def find(module, name):
    words = {
        "Opaque": OPAQUE,
        "dict": Function(pickles.dictionary),
        "Record": Record(),
        "pair": Function(lambda a: (a, a)),
    }
    if name not in words:
        raise RefusedError(f"{module}.{name} was not executed")
    return words[name]


def load(data, start=0):
    return pickles.load(data, find, lambda pid: ("stored", pid), start)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN, ids=lambda value: str(value)[:20].encode("ascii", "ignore").decode())
def test_plain_values_are_as_python_reads_them(value, protocol):
    if protocol < 3 and value == PLAIN[4]:
        return  # bytes are a call of _codecs.encode then
    data = pickle.dumps(value, protocol)
    assert load(b"before" + data + b"behind", 6) == (value, 6 + len(data))


def test_what_python_2_wrote():
    assert load(b"(dp0\nS'a'\np1\nL5L\nsS'b'\np2\n(lp3\nI01\naI00\naF1.5\nas.")[0] == {"a": 5, "b": [True, False, 1.5]}
    assert (
        load(b"U\x01\xe9.")[0] == "é" and load(b"T\x01\x00\x00\x00\xe9.")[0] == "é" and load(b"V\\u00e9\n.")[0] == "é"
    )
    assert load(b"S'\\x41\\n'\n.")[0] == "A\n"


def test_sets_are_lists_and_dictionaries_have_only_names():
    assert sorted(load(pickle.dumps({3, 4}, 4))[0]) == [3, 4] and load(pickle.dumps(frozenset([3]), 4))[0] == [3]
    assert load(pickle.dumps({1: 2, "a": 3, (1, 2): 4, None: 5}, 2))[0] == {"a": 3}


def test_shared_values_are_the_same():
    shared = [1]
    first, second = load(pickle.dumps([shared, shared]))[0]
    assert first is second


def test_opaque_values_ignore_every_operation():
    word = b"cx\nOpaque\n"
    for operations in (b")R", b")\x81", b")}\x92", b"}b", b"Na", b"(NNe", b"NNs", b"(NNu"):
        assert load(word + operations + b".")[0] is OPAQUE
    assert load(b"(cx\nOpaque\nNo.")[0] is OPAQUE and load(b"(Nix\nOpaque\n.")[0] is OPAQUE


def test_functions_are_called_and_records_not_altered():
    assert load(b"cx\npair\nN\x85R.")[0] == (None, None)
    assert load(b"cx\ndict\n](X\x01\x00\x00\x00aK\x01\x86X\x01\x00\x00\x00bK\x02\x86e\x85R.")[0] == {"a": 1, "b": 2}
    for word in (b"cx\nRecord\n", b"cx\npair\n"):
        with pytest.raises(RefusedError, match="changed after its construction; that was not executed"):
            load(word + b"}b.")
    with pytest.raises(RefusedError, match="x.system was not executed"):
        load(b"cx\nsystem\n.")
    with pytest.raises(TypeError, match="cannot be called"):
        load(b"N)R.")


def test_persistent_values_are_asked_for():
    assert load(b"K\x07Q.")[0] == ("stored", 7) and load(b"Pabc\n.")[0] == ("stored", "abc")


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b"N0" * limits.MAX_PICKLE_STEPS + b"N.", "MAX_PICKLE_STEPS"),
        (
            b"\x8b" + (limits.MAX_INTEGER + 1).to_bytes(4, "little") + bytes(limits.MAX_INTEGER + 1) + b".",
            "MAX_INTEGER",
        ),
        (b"L" + b"9" * 3 * limits.MAX_INTEGER + b"\n.", "MAX_INTEGER"),
        (b"}" + pickle.dumps("n" * (limits.MAX_NAME + 1), 2)[2:-1] + b"Ns.", "MAX_NAME"),
    ],
    ids=["steps", "integer", "digits", "name"],
)
def test_what_exceeds_a_limit_names_it(data, limit):
    with pytest.raises(RefusedError, match=limit):
        load(data)


def test_what_reaches_a_limit_is_read():
    count = limits.MAX_INTEGER
    assert load(b"\x8b" + count.to_bytes(4, "little") + b"\x7f" * count + b".")[0].bit_length() == 8 * count - 1
    assert load(b"}" + pickle.dumps("n" * limits.MAX_NAME, 2)[2:-1] + b"Ns.")[0] == {"n" * limits.MAX_NAME: None}


@pytest.mark.parametrize("cut", range(40))
def test_a_cut_pickle_is_an_error_that_is_expected(cut):
    data = pickle.dumps({"a": [1, 2.5, "text", (3, 2**70)]}, 4)
    with pytest.raises(pickles.NOT_A_PICKLE):
        load(data[:cut])


def test_descriptions_are_short_however_deep_and_wide_a_value_is():
    doubled, deep = [], ()
    for _ in range(200):
        doubled, deep = [doubled, doubled], (deep,)
    for value in (doubled, deep, "x" * 10**6, list(range(10**6)), 2 ** (8 * limits.MAX_INTEGER), Record()):
        assert len(pickles.described(value)) <= 60
