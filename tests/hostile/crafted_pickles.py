"""Pickles that take gigabytes, hours or the process where they are believed, for either layout of PyTorch's files."""

import struct

from tests.weights.test_torch_file import call, literal, many, name, storage, table, tensor

DEEP = 250_000  # levels, whose hash overflows the stack of a process


def _ints(size):
    """An integer of `size` bytes."""
    return b"\x8b" + struct.pack("<i", size) + b"\x7f" * size


def _doubled(empty, join, levels=60):
    """Lists in lists, or tuples in tuples, that have 2^levels leaves, by the memo."""
    step = {"list": lambda n: b"](h\x01h\x01e", "tuple": lambda n: b"h\x01h\x01\x86"}[join]
    return empty + b"q\x01" + b"".join(step(n) + b"q\x01" for n in range(levels))


def _deep(levels, opening=b"", closing=b"\x85"):
    return opening * levels + b")" + closing * levels


def _keyed(key):
    return b"}" + key + b"Ns"


ITEM = tensor(storage("0", 2))
_STORED = storage("0", 2)
_DOUBLED_LIST, _DOUBLED_TUPLE = _doubled(b"]", "list"), _doubled(b")", "tuple")
_SIZES = {"2^62": 2**62, "2^63": 2**63, "2^70": 2**70, "-1": -1, "True": True, "None": None, "1.5": 1.5, "text": "2"}


def _raw_tensor(stored=_STORED, offset=b"K\x00", shape=b"K\x02\x85", strides=b"K\x01\x85"):
    arguments = (stored, offset, shape, strides, b"\x89", call(name("collections", "OrderedDict")))
    return call(name("torch._utils", "_rebuild_tensor_v2"), *arguments)


def _pid(*items):
    return many(*items) + b"Q"


_FLOATS = name("torch", "FloatStorage")
TREES = {  # pickles that stand for the value of "x", beside good tensors
    "a memo of 2^31": b"N" + b"r" + struct.pack("<I", 2**31) + b"0" + ITEM,
    "a memo of 2^32 - 1": b"N" + b"r" + struct.pack("<I", 2**32 - 1),
    "a memo of a million digits": b"Np" + b"9" * 10**6 + b"\n",
    "150,000 memos": b"N" + b"".join(b"r" + struct.pack("<I", 28_000 * n) for n in range(150_000)),
    "an integer of 1 MB": _ints(10**6),
    "an integer of 1 MB of digits": b"L" + b"9" * 10**6 + b"L\n",
    "an integer of 2^31 bytes": b"\x8b" + struct.pack("<i", 2**31 - 1),
    "an integer of -1 bytes": b"\x8b" + struct.pack("<i", -1),
    "sizes of 1 MB": _raw_tensor(shape=b"(" + _ints(10**6) * 4 + b"t"),
    "sizes of 1 kB": _raw_tensor(shape=b"(" + _ints(1000) * 4 + b"t", strides=b"(" + _ints(1000) * 4 + b"t"),
    "an offset of 1 kB": _raw_tensor(offset=_ints(1000)),
    "a storage of 1 kB of count": tensor(_pid(literal("storage"), _FLOATS, literal("0"), literal("cpu"), _ints(1000))),
    "lists doubled, as a persistent id": _DOUBLED_LIST + b"Q",
    "lists doubled, in a persistent id": _pid(literal("storage"), _FLOATS, literal("0"), literal("c"), _DOUBLED_LIST),
    "tuples doubled, as a persistent id": _DOUBLED_TUPLE + b"Q",
    "lists doubled, as a size": _raw_tensor(shape=_DOUBLED_LIST),
    "tuples doubled, as a size": _raw_tensor(shape=_DOUBLED_TUPLE),
    "lists doubled, called": _DOUBLED_LIST + b")R",
    "tuples doubled, as a key": _keyed(_DOUBLED_TUPLE),
    "lists doubled, as a key": _keyed(_DOUBLED_LIST),
    "tuples doubled, in a set": b"\x8f(" + _DOUBLED_TUPLE + b"\x90",
    "tuples doubled, as an argument": call(name("torch", "Size"), _DOUBLED_TUPLE),
    "a tuple 250,000 deep, as a key": _keyed(_deep(DEEP)),
    "a tuple 250,000 deep, in a frozen set": b"(" + _deep(DEEP) + b"\x91",
    "a tuple 250,000 deep": _deep(DEEP),
    "a list 250,000 deep": b"]" * DEEP + b"a" * (DEEP - 1),
    "a dictionary 250,000 deep": b"}" * 1 + b"N}" * DEEP + b"s" * DEEP,
    "a tuple 250,000 deep, as a size": _raw_tensor(shape=_deep(DEEP)),
    "a tuple 250,000 deep, as a storage": _pid(literal("storage"), _FLOATS, literal("0"), literal("c"), _deep(DEEP)),
    "250,000 marks": b"(" * DEEP + b"1" * DEEP + b"N",
    "two million steps": b"N0" * 1_000_000 + b"N",
    "a list copied 100,000 times": b"](" + b"N" * 10**5 + b"eq\x01" + (name("torch", "Size") + b"h\x01\x85R0") * 10**5,
    "pairs copied 100,000 times": b"]("
    + b"NN\x86" * 10**5
    + b"eq\x01"
    + (name("collections", "OrderedDict") + b"h\x01\x85R0") * 10**5,
    "arguments copied 100,000 times": b"(" + b"N" * 10**5 + b"tq\x01" + (name("torch", "device") + b"h\x01R0") * 10**5,
    "integers of one hash": b"}("
    + b"".join(b"\x8a\x14" + ((2**61 - 1) * n).to_bytes(20, "little") + b"N" for n in range(1, 100_000))
    + b"u",
    "a name of 3 MB": b"}" + literal("n" * 3 * 10**6) + b"Ns",
    "equal names of 3 MB": (literal("n" * 3 * 10**6) + b"q\x01" + literal("n" * 3 * 10**6) + b"q\x02}q\x03")
    + b"h\x01Ns"
    + b"h\x02Ns" * 100_000,
    "a frame of 2^60": b"\x95" + struct.pack("<Q", 2**60),
    "bytes of 2^62": b"\x8e" + struct.pack("<Q", 2**62),
    "a bytearray of 2^33": b"\x96" + struct.pack("<Q", 2**33),
    "text of 2^62": b"\x8d" + struct.pack("<Q", 2**62),
    "text of 2^32 - 1": b"X" + struct.pack("<I", 2**32 - 1),
    "a buffer": b"\x97",
    "an extension": b"\x82\x01",
    "a tensor that repeats one number 2^30 times": tensor(_STORED, 0, (2**15, 2**15), (0, 0)),
    "half a tensor that repeats": tensor(storage("0", 4, "HalfStorage"), 0, (2**15, 2**15), (0, 1)[::-1][:1] * 2),
    "an empty tensor of 2^62 rows": tensor(_STORED, 0, (2**62, 0), (1, 1)),
    "33 axes": tensor(_STORED, 0, (1,) * 33, (1,) * 33),
    "100,000 axes": tensor(_STORED, 0, (1,) * 10**5, (1,) * 10**5),
    "a storage type of another kind": _pid(literal("storage"), literal("f"), literal("0"), literal("c"), literal(2)),
    "a device that is a tensor": _pid(literal("storage"), _FLOATS, literal("0"), ITEM, literal(2)),
    "a key that is a number": _pid(literal("storage"), _FLOATS, literal(0), literal("c"), literal(2)),
    "a view of a tensor": _pid(literal("storage"), _FLOATS, literal("0"), literal("c"), literal(2), ITEM),
    "a view of text": _pid(literal("storage"), _FLOATS, literal("0"), literal("c"), literal(2), literal("abc")),
    "a view of 2^70": _pid(
        literal("storage"), _FLOATS, literal("0"), literal("c"), literal(2), literal(("1", 2**70, 1))
    ),
    "a key that leads outside": tensor(storage("../../../etc/passwd", 2)),
    "a name in a name": b"\x80\x04" + literal("torch") + literal("FloatStorage.__class__") + b"\x93",
    "a name that is a list": b"]]\x93",
    "an attribute of a class": name("argparse", "Namespace") + literal({"__call__": 1}) + b"b",
    "an empty stack": b"0" * 100,
    "no marks": b"t",
    "an odd number of items": b"}(NNNu",
    "strings without quotation marks": b"Sabc\n",
    "a number that is a word": b"Iabc\n",
}
TREES |= {f"a size of {size}": _raw_tensor(shape=literal((number,))) for size, number in _SIZES.items()}
TREES |= {f"a stride of {size}": _raw_tensor(strides=literal((number,))) for size, number in _SIZES.items()}
TREES |= {f"an offset of {size}": _raw_tensor(offset=literal(number)) for size, number in _SIZES.items()}
TREES |= {
    f"a storage of {size}": _pid(literal("storage"), _FLOATS, literal("0"), literal("c"), literal(number))
    for size, number in _SIZES.items()
}


def pickled(kind, write):
    """A torch file in the layout that `write` writes, with one of `TREES`."""

    def make(folder):
        tree = table(good=ITEM, x=TREES[kind])
        return write(folder / "w.pth", tree, {"0": bytes(8)})

    return make


def executing(target):
    """Pickles that would create the file `target`."""
    command = literal(f"touch {target}")
    return [call(name("os", "system"), command), b"(" + command + b"iposix\nsystem\n"]
