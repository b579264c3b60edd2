"""Read PyTorch checkpoints without PyTorch, and without executing any code in them.

A checkpoint is a pickle, a small program whose instructions may call any function of Python, and beside it the raw
numbers ("storages"). Here only a fixed vocabulary is allowed: the few names that a state dict needs are bound to inert
records and to functions of this file, and any other name is an error. There are two layouts: a zip (`<root>/data.pkl`,
`<root>/data/<key>`, `<root>/byteorder`), and the older sequence of pickles followed by storages.

A tensor is a view: storage, offset, sizes, strides (in elements). Several tensors may view one storage.
"""

import collections
import functools
import io
import math
import os
import pickle

import numpy as np

from keras_vit.weights.entries import Entry, damaged, from_bfloat16

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_LEGACY_START = b"\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."  # LONG1, ten bytes, STOP

# Keys of the weights in a training checkpoint, in order of preference; "teacher" is DINO's.
_WRAPPERS = ("model", "state_dict_ema", "model_ema", "state_dict", "teacher")
_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile

_STORAGE_DTYPES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "UntypedStorage": "u1",
    "TypedStorage": "u1",
}
_TORCH_DTYPES = (
    "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool "
    "complex64 complex128 float8_e4m3fn float8_e5m2"
).split()

# What the unpickler raises for bytes that are not a pickle, or not one of these.
_NOT_A_PICKLE = (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError)
_NOT_A_PICKLE += (AttributeError, OverflowError, MemoryError, RecursionError)


class RefusedError(ValueError):
    """The file contains something that is not allowed here; nothing of it was executed."""


class Opaque:
    """Replaces an object that does not matter (arguments, metrics) and ignores every operation."""

    __slots__ = ()

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __call__(self, *args, **kwargs):
        return self

    def __setstate__(self, state):
        return None

    def __setitem__(self, key, value):
        return None

    def append(self, item):
        """Ignore an item."""

    def extend(self, items):
        """Ignore items."""


class _Fixed:
    """Base of the records that a pickle may contain and must not alter."""

    __slots__ = ()

    def __setstate__(self, state):
        raise RefusedError("a record of the file is changed after its construction; that was not executed")


class _StorageType(_Fixed):
    """A class of storages: the format of its numbers."""

    __slots__ = ("dtype",)

    def __init__(self, dtype):
        self.dtype = dtype


class _Function(_Fixed):
    """A function of this file, under PyTorch's name for it."""

    __slots__ = ("function",)

    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        return self.function(*args)


class _Storage(_Fixed):
    """An array of numbers in the file: key, format, count; `base` is the offset of a view of it."""

    __slots__ = ("key", "dtype", "count", "base")

    def __init__(self, key, dtype, count, base=0):
        self.key, self.dtype, self.count, self.base = key, dtype, count, base

    @property
    def itemsize(self):
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize


class _Tensor(_Fixed):
    """A view of a storage, checked to lie within it; offset and strides count elements."""

    __slots__ = ("storage", "offset", "shape", "strides")

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def of(self, numbers):
        """The array of this view, given all numbers of its storage."""
        size = numbers.itemsize
        return np.ndarray(
            self.shape,
            numbers.dtype,
            numbers,
            self.offset * size,
            [stride * size for stride in self.strides],
        )


def _rebuild_tensor(storage, offset, shape, strides, *_):
    """A _Tensor; a view that leaves its storage is a RefusedError."""
    counts = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(count) is int and count >= 0 for count in counts):
        raise RefusedError("a tensor of the file has no storage, or a negative size, stride or offset")
    if len(shape) != len(strides) or len(shape) > 32:
        raise RefusedError(f"a tensor of the file has sizes {tuple(shape)} and strides {tuple(strides)}")
    offset += storage.base
    if math.prod(shape):
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
        if last >= storage.count:
            raise RefusedError(
                f"a tensor of shape {tuple(shape)} reaches element {last} of a storage of {storage.count}"
            )
    elif offset > storage.count:
        raise RefusedError(f"an empty tensor begins at element {offset} of a storage of {storage.count}")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *_):
    return tensor


def _vocabulary():
    """{(module, name): its replacement}, for all names that a file may contain."""
    opaque = [("torch", name) for name in _TORCH_DTYPES]
    opaque += [("torch", "device"), ("_codecs", "encode"), ("numpy", "dtype")]
    opaque += [(f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")]
    stubs = [("argparse", "Namespace"), ("yacs.config", "CfgNode"), ("yacs", "CfgNode")]
    words = {name: Opaque() for name in opaque} | {name: Opaque for name in stubs}
    for name, dtype in _STORAGE_DTYPES.items():
        words["torch", name] = words["torch.storage", name] = _StorageType(dtype)
    words["collections", "OrderedDict"] = collections.OrderedDict
    words["torch", "Size"] = _Function(tuple)
    words["torch._utils", "_rebuild_tensor"] = _Function(_rebuild_tensor)
    words["torch._utils", "_rebuild_tensor_v2"] = _Function(_rebuild_tensor)
    words["torch._utils", "_rebuild_parameter"] = _Function(_rebuild_parameter)
    return words


_VOCABULARY = _vocabulary()


class _Unpickler(pickle.Unpickler):
    """An unpickler that allows only the names of the vocabulary; `storages` are those of the file."""

    def __init__(self, file):
        super().__init__(file, encoding="latin1")  # strings of Python 2: never an error
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) not in _VOCABULARY:
            raise RefusedError(
                f"it contains code or Python objects ({module}.{name}) and was not executed. Expected a dictionary of "
                "tensors. Save its state dict alone, with torch.save(model.state_dict(), 'weights.pth') where the "
                "model can be loaded, or as safetensors"
            )
        return _VOCABULARY[module, name]

    def persistent_load(self, pid):
        """The storage of ("storage", type, key, device, count[, (key, offset, count)])."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise RefusedError(f"it contains something other than tensors ({pid!r:.60})")
        kind, key, count = pid[1], pid[2], pid[4]
        if not isinstance(kind, _StorageType) or not isinstance(key, str) or type(count) is not int or count < 0:
            raise RefusedError(f"it describes a storage as {pid!r:.60}")
        base = 0
        if len(pid) == 6 and pid[5] is not None:
            base = pid[5][1]
            if type(base) is not int or base < 0:
                raise RefusedError(f"it describes a view of a storage as {pid[5]!r:.60}")
        known = self.storages.setdefault(key, _Storage(key, kind.dtype, count))
        if (known.dtype, known.count) != (kind.dtype, count):
            raise RefusedError(f"it describes storage {key} twice, differently")
        return known if base == 0 else _Storage(key, kind.dtype, count, base)


def _unpickle(path, unpickler):
    """The object that a pickle builds from the vocabulary."""
    try:
        return unpickler.load()
    except RefusedError as error:
        raise ValueError(f"{path} is not read: {error}.") from error
    except _NOT_A_PICKLE as error:
        raise damaged(path, "a PyTorch checkpoint", f"{type(error).__name__}: {error}") from error


# --------------------------------------------------------------------------------------- zip layout


def root(names):
    """The folder of a torch zip, given its members' names, or None if it is not a torch zip."""
    for name in names:
        if name.endswith("/data.pkl") and name.count("/") == 1:
            return name.removesuffix("/data.pkl")
    return None


def read_zip(archive):
    """{name: Entry} of a PyTorch file in the zip layout, given as an `Archive`."""
    path, folder = archive.path, root(archive.members)
    if any(name.startswith(f"{folder}/code/") for name in archive.members):
        raise ValueError(
            f"{path} is a TorchScript program, and was not executed. Expected a dictionary of tensors. With PyTorch: "
            f"torch.save(torch.jit.load({str(path)!r}, 'cpu').state_dict(), 'weights.pth')."
        )
    if f"{folder}/byteorder" in archive.members:
        order = archive.read(f"{folder}/byteorder").strip()
        if order != b"little":
            raise _big_endian(path, order)
    unpickler = _Unpickler(io.BytesIO(archive.read(f"{folder}/data.pkl")))
    tree = _unpickle(path, unpickler)
    for storage in unpickler.storages.values():
        name, size = f"{folder}/data/{storage.key}", storage.count * storage.itemsize
        if name not in archive.members or archive.size(name) < size:
            found = f"{archive.size(name)} bytes" if name in archive.members else "no such member"
            raise damaged(path, f"{size} bytes in {name}", found)
    return _entries(path, tree, lambda storage: archive.read(f"{folder}/data/{storage.key}"))


# ------------------------------------------------------------------------------------ legacy layout


def is_legacy(start):
    """Whether a file begins with the pickled magic number of the legacy layout."""
    return start[:1] == b"\x80" and start[2:15] == _LEGACY_START


def read_legacy(path):
    """{name: Entry} of a PyTorch file in the legacy layout.

    Five pickles (magic number, protocol, facts about the machine, the object, the list of storage keys), then for each
    key an int64 count and the raw numbers.
    """
    with open(path, "rb") as file:
        magic, protocol, machine = (_unpickle(path, _Unpickler(file)) for _ in range(3))
        if magic != MAGIC or protocol != PROTOCOL or not isinstance(machine, dict):
            raise damaged(
                path,
                f"magic number and protocol {PROTOCOL} of PyTorch",
                f"protocol {protocol!r:.40}",
            )
        if dict.get(machine, "little_endian") is not True:
            raise _big_endian(path, dict.get(machine, "little_endian"))
        unpickler = _Unpickler(file)
        tree = _unpickle(path, unpickler)
        keys = _unpickle(path, _Unpickler(file))
        places = _places(path, file, keys, unpickler.storages)

    def read(storage):
        with open(path, "rb") as file:
            file.seek(places[storage.key])
            return file.read(storage.count * storage.itemsize)

    return _entries(path, tree, read)


def _places(path, file, keys, storages):
    """{storage key: its position in the file}, going from one count to the next."""
    if not isinstance(keys, list) or set(map(repr, keys)) != set(map(repr, storages)):
        raise damaged(path, f"the keys of {len(storages)} storages", f"{keys!r:.60}")
    end, places = os.path.getsize(path), {}
    for key in keys:
        storage, head = storages[key], file.read(8)
        places[key] = file.tell()
        if len(head) < 8 or int.from_bytes(head, "little", signed=True) != storage.count:
            raise damaged(
                path,
                f"{storage.count} numbers in storage {key}",
                f"a count of {head.hex() or 'nothing'}",
            )
        if places[key] + storage.count * storage.itemsize > end:
            raise damaged(path, f"{storage.count} numbers in storage {key}", "the end of the file")
        file.seek(places[key] + storage.count * storage.itemsize)
    return places


# -------------------------------------------------------------------------------------- state dicts


def _entries(path, tree, read):
    """{name: Entry} for the tensors of a checkpoint; `read` returns the bytes of a storage."""
    tensors = _state_dict(path, tree)

    @functools.lru_cache(maxsize=1)  # tensors that share a storage follow each other
    def numbers(key):
        storage = storages[key]
        data = read(storage)
        if len(data) < storage.count * storage.itemsize:
            raise damaged(path, f"{storage.count} numbers in storage {key}", f"{len(data)} bytes")
        if storage.dtype == "bfloat16":
            return from_bfloat16(np.frombuffer(data, "<u2", storage.count))
        return np.frombuffer(data, storage.dtype, storage.count)

    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    return {
        name: Entry(tensor.shape, lambda tensor=tensor: tensor.of(numbers(tensor.storage.key)))
        for name, tensor in tensors.items()
    }


def _state_dict(path, tree):
    """{name: _Tensor} of a checkpoint's weights, unwrapped and without common prefixes."""
    if isinstance(tree, dict):
        for wrapper in _WRAPPERS:
            if _tensors(dict.get(tree, wrapper)):
                tree = dict.get(tree, wrapper)
                break
    tensors = _tensors(tree)
    if not tensors:
        found = f"the keys {list(tree)[:8]}" if isinstance(tree, dict) else type(tree).__name__
        optimizer = isinstance(tree, dict) and "param_groups" in tree
        remedy = " That is an optimizer's state; save that of the model, model.state_dict()." if optimizer else ""
        raise ValueError(f"{path} holds no state dict: expected a dictionary of tensors. Received: {found}.{remedy}")
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _tensors(tree):
    """The tensors directly in a dictionary, without other items; {} for anything else."""
    if not isinstance(tree, dict):
        return {}
    items = dict.items(tree)  # not tree.items(): a file may set attributes on an OrderedDict
    return {key: leaf for key, leaf in items if isinstance(key, str) and isinstance(leaf, _Tensor)}


def _big_endian(path, found):
    return ValueError(
        f"{path} was written on a big-endian machine, which is not supported: expected little-endian numbers. "
        f"Received: {found!r}. Load it with PyTorch there and save it as safetensors."
    )
