"""The machine that pickles are programs for, with inert values only: nothing of a file is called, hashed or compared.

PyTorch's own `weights_only` reading has such a machine, too. Python's takes gigabytes, hours or the whole process where
a file says so: memo indices of 2^31, hashes of tuples in tuples, integers of megabytes. Here a pickle is bounded in its
bytes and steps, and a dictionary keeps only what stands under a string: tensors have names, and other keys need hashes.
"""

import codecs
import pickle
import reprlib
import struct

from keras_vit.system.limits import MAX_INTEGER, MAX_NAME, MAX_PICKLE_STEPS

# What `load` raises for bytes that are not a pickle, or not one of these.
NOT_A_PICKLE = (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, OverflowError)
_MAX_ARGUMENTS = 16  # of a function; PyTorch's take seven

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother, _short.maxlong = 2, 60, 60, 40


class RefusedError(ValueError):
    """The file contains something that is not allowed here; nothing of it was executed."""


class Opaque:
    """Replaces what does not matter (arguments, metrics, classes and functions of them) and ignores every operation."""

    __slots__ = ()


OPAQUE = Opaque()


class Fixed:
    """Base of the records that a pickle may contain and must not alter."""

    __slots__ = ()

    def __repr__(self):
        return f"<{type(self).__name__.lstrip('_')}>"


class Function(Fixed):
    """A function that a pickle may call."""

    __slots__ = ("function",)

    def __init__(self, function):
        self.function = function


def described(value):
    """A value of a pickle in at most 60 characters, however deep and large it is."""
    return _short.repr(value)[:60]


def dictionary(items=()):
    """A dictionary of (name, value) pairs, with which old pickles call `OrderedDict`, or of a dictionary."""
    made = {}
    for key, value in items.items() if type(items) is dict else items:
        _put(made, key, value)
    return made


def load(data, find, persistent, start=0):
    """The object that a pickle builds.

    Args:
        data: bytes with the pickle; those behind it are not looked at.
        find: (module, name) -> the inert value that replaces it: an `Opaque`, a `Function` or another `Fixed`.
        persistent: function of a persistent id.
        start: position of its first byte.

    Returns:
        (the object, the position behind the pickle). Sets are lists; dictionaries have only keys that are strings.

    Raises:
        RefusedError: for what exceeds a limit, or is not allowed.
        NOT_A_PICKLE: any of these errors, for other bytes.
    """
    machine = _Machine(data, find, persistent, start)
    return machine.run(), machine.position


class _Machine:
    """The state of a run: a stack, those below its marks, the memo of numbered values, the count of copied items."""

    __slots__ = ("data", "find", "persistent", "position", "stack", "below", "memo", "copied")

    def __init__(self, data, find, persistent, start):
        self.data, self.find, self.persistent, self.position = data, find, persistent, start
        self.stack, self.below, self.memo, self.copied = [], [], {}, 0

    def run(self):
        """Execute the instructions up to STOP."""
        data, instructions, stop = self.data, _INSTRUCTIONS, pickle.STOP[0]
        for _ in range(MAX_PICKLE_STEPS):
            code = data[self.position]
            self.position += 1
            if code == stop:
                return self.stack.pop()
            instruction = instructions[code]
            if instruction is None:
                raise pickle.UnpicklingError(f"no instruction has the number {code}")
            instruction(self)
        raise RefusedError(f"its pickle has more than {MAX_PICKLE_STEPS:,} steps (MAX_PICKLE_STEPS)")

    def take(self, count):
        """The next `count` bytes."""
        start = self.position
        self.position = end = start + count
        if end > len(self.data):
            raise EOFError(f"{count} bytes are said to follow where {len(self.data) - start} do")
        return self.data[start:end]

    def number(self, size):
        """The next `size` bytes as an unsigned integer."""
        return int.from_bytes(self.take(size), "little")

    def line(self):
        """The bytes up to the next line break."""
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise EOFError("a line has no end")
        start, self.position = self.position, end + 1
        return self.data[start:end]

    def since_mark(self):
        """What lies above the last mark, as a list; the stack is the one below it again."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def last(self, count):
        """What lies at the top of the stack, as a tuple, taken from it."""
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise IndexError("pop from an empty stack")
        del self.stack[-count:]
        return items

    def call(self, function, arguments):
        """Push what a function gives."""
        if isinstance(function, Function):
            if type(arguments) is not tuple or len(arguments) > _MAX_ARGUMENTS:
                raise RefusedError(f"it calls a function with {described(arguments)}; that was not executed")
            self.copied += sum(len(items) for items in arguments if type(items) in (list, tuple, dict))
            if self.copied > MAX_PICKLE_STEPS:
                raise RefusedError(f"its pickle copies more than {MAX_PICKLE_STEPS:,} items (MAX_PICKLE_STEPS)")
            self.stack.append(function.function(*arguments))
        elif isinstance(function, Opaque):
            self.stack.append(function)
        else:
            raise TypeError(f"{described(function)} cannot be called")


def _put(target, key, value):
    """target[key] = value, where the key is a string; other keys name no tensor."""
    if type(target) is not dict:
        if not isinstance(target, Opaque):
            raise TypeError(f"{described(target)} takes no items")
    elif type(key) is str:
        if len(key) > MAX_NAME:
            raise RefusedError(f"it has a name of {len(key):,} characters; the limit is {MAX_NAME:,} (MAX_NAME)")
        target[key] = value


def _extend(target, items):
    if type(target) is list:
        target.extend(items)
    elif not isinstance(target, Opaque):
        raise TypeError(f"{described(target)} takes no items")


# The instructions, in the order of the documentation in pickletools ------------------------------------------------

_INSTRUCTIONS = [None] * 256


def _instruction(*names):
    """Makes a function of the machine what the instructions of these names do."""

    def register(function):
        for name in names:
            _INSTRUCTIONS[getattr(pickle, name)[0]] = function
        return function

    return register


def _pushing(value):
    """The instruction that pushes value(machine); the usual ones are written out below, for speed."""

    def instruction(machine):
        item = value(machine)  # first, since it may replace the stack
        machine.stack.append(item)

    return instruction


def _integer(machine, size):
    count = int.from_bytes(machine.take(size), "little", signed=size == 4)
    if not 0 <= count <= MAX_INTEGER:
        raise RefusedError(f"it has an integer of {count:,} bytes; the limit is {MAX_INTEGER:,} (MAX_INTEGER)")
    return int.from_bytes(machine.take(count), "little", signed=True)


def _written_integer(machine):
    line = machine.line()
    if len(line) > 2 * MAX_INTEGER:
        raise RefusedError(f"it has an integer of {len(line):,} digits (MAX_INTEGER)")
    if line in (b"00", b"01"):  # False and True, before they had instructions of their own
        return line == b"01"
    return int(line.removesuffix(b"L"), 0)


def _written_string(machine):
    line = machine.line().strip()
    if len(line) < 2 or line[:1] not in b"'\"" or line[-1:] != line[:1]:
        raise pickle.UnpicklingError("a string has no quotation marks")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")  # strings of Python 2: never an error


def _text(machine, size):
    return machine.take(machine.number(size)).decode("utf-8", "surrogatepass")


for _name, _value in {
    "NONE": lambda m: None,
    "NEWTRUE": lambda m: True,
    "NEWFALSE": lambda m: False,
    "INT": _written_integer,
    "LONG": _written_integer,
    "BININT": lambda m: int.from_bytes(m.take(4), "little", signed=True),
    "BININT2": lambda m: m.number(2),
    "LONG1": lambda m: _integer(m, 1),
    "LONG4": lambda m: _integer(m, 4),
    "FLOAT": lambda m: float(m.line()),
    "BINFLOAT": lambda m: struct.unpack(">d", m.take(8))[0],
    "STRING": _written_string,
    "BINSTRING": lambda m: m.take(m.number(4)).decode("latin1"),
    "SHORT_BINSTRING": lambda m: m.take(m.number(1)).decode("latin1"),
    "BINBYTES": lambda m: m.take(m.number(4)),
    "SHORT_BINBYTES": lambda m: m.take(m.number(1)),
    "BINBYTES8": lambda m: m.take(m.number(8)),
    "BYTEARRAY8": lambda m: m.take(m.number(8)),
    "UNICODE": lambda m: m.line().decode("raw-unicode-escape"),
    "BINUNICODE": lambda m: _text(m, 4),
    "SHORT_BINUNICODE": lambda m: _text(m, 1),
    "BINUNICODE8": lambda m: _text(m, 8),
    "EMPTY_LIST": lambda m: [],
    "EMPTY_SET": lambda m: [],
    "EMPTY_DICT": lambda m: {},
    "EMPTY_TUPLE": lambda m: (),
    "LIST": _Machine.since_mark,
    "FROZENSET": _Machine.since_mark,
    "TUPLE1": lambda m: m.last(1),
    "TUPLE2": lambda m: m.last(2),
    "TUPLE3": lambda m: m.last(3),
    "DUP": lambda m: m.stack[-1],
    "GET": lambda m: m.memo[_written_integer(m)],
    "LONG_BINGET": lambda m: m.memo[m.number(4)],
    "GLOBAL": lambda m: m.find(m.line().decode(), m.line().decode()),
    "PERSID": lambda m: m.persistent(m.line().decode("ascii")),
    "BINPERSID": lambda m: m.persistent(m.stack.pop()),
}.items():
    _instruction(_name)(_pushing(_value))


@_instruction("BININT1")
def _binint1(m):
    m.stack.append(m.data[m.position])
    m.position += 1


@_instruction("BINGET")
def _binget(m):
    m.stack.append(m.memo[m.data[m.position]])
    m.position += 1


@_instruction("TUPLE")
def _tuple(m):
    items, m.stack = m.stack, m.below.pop()
    m.stack.append(tuple(items))


@_instruction("BINPUT")
def _binput(m):
    m.memo[m.data[m.position]] = m.stack[-1]
    m.position += 1


def _memoizing(key):
    """The instruction that gives the top of the stack the number key(machine)."""

    def instruction(machine):
        machine.memo[key(machine)] = machine.stack[-1]

    return instruction


_instruction("PUT")(_memoizing(_written_integer))
_instruction("LONG_BINPUT")(_memoizing(lambda m: m.number(4)))
_instruction("MEMOIZE")(_memoizing(lambda m: len(m.memo)))
_instruction("POP_MARK")(_Machine.since_mark)
_instruction("FRAME")(lambda m: m.number(8))  # its length: all bytes are at hand


@_instruction("MARK")
def _mark(m):
    m.below.append(m.stack)
    m.stack = []


@_instruction("POP")
def _pop(m):
    m.stack.pop() if m.stack else m.since_mark()


@_instruction("DICT")
def _dict(m):
    items = m.since_mark()
    m.stack.append(dictionary(zip(items[::2], items[1::2], strict=True)))


@_instruction("APPEND")
def _append(m):
    item = m.stack.pop()
    _extend(m.stack[-1], (item,))


@_instruction("APPENDS", "ADDITEMS")
def _appends(m):
    items = m.since_mark()
    _extend(m.stack[-1], items)


@_instruction("SETITEM")
def _setitem(m):
    value, key = m.stack.pop(), m.stack.pop()
    _put(m.stack[-1], key, value)


@_instruction("SETITEMS")
def _setitems(m):
    items = m.since_mark()
    target = m.stack[-1]
    for key, value in zip(items[::2], items[1::2], strict=True):
        _put(target, key, value)


@_instruction("STACK_GLOBAL")
def _stack_global(m):
    name, module = m.stack.pop(), m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise TypeError("the name of a class is no string")
    m.stack.append(m.find(module, name))


@_instruction("REDUCE", "NEWOBJ")
def _reduce(m):
    arguments = m.stack.pop()
    m.call(m.stack.pop(), arguments)


@_instruction("NEWOBJ_EX")
def _newobj_ex(m):
    m.stack.pop()  # named arguments
    _reduce(m)


@_instruction("INST")
def _inst(m):
    arguments = tuple(m.since_mark())
    m.call(m.find(m.line().decode(), m.line().decode()), arguments)


@_instruction("OBJ")
def _obj(m):
    function, *arguments = m.since_mark()
    m.call(function, tuple(arguments))


@_instruction("BUILD")
def _build(m):
    m.stack.pop()
    target = m.stack[-1]
    if isinstance(target, Fixed):
        raise RefusedError("a record of the file is changed after its construction; that was not executed")
    if not isinstance(target, (dict, Opaque)):  # attributes of dictionaries are left out
        raise TypeError(f"{described(target)} has no attributes")


@_instruction("PROTO")
def _proto(m):
    if m.number(1) > pickle.HIGHEST_PROTOCOL:
        raise ValueError("an unknown version of the pickle format")
