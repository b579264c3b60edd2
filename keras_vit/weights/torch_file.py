"""Read PyTorch checkpoints without PyTorch, and without executing any code in them.

A checkpoint is a pickle, a small program whose instructions may call any function of Python, and beside it the raw
numbers ("storages"). Here only a fixed vocabulary is allowed: the few names that a state dict needs are bound to inert
records and to functions of this file, and any other name is an error. There are two layouts: a zip (`<root>/data.pkl`,
`<root>/data/<key>`, `<root>/byteorder`), and the older sequence of pickles followed by storages.

A tensor is a view: storage, offset, sizes, strides (in elements). Several tensors may view one storage.
"""

import collections
import functools
import math
import os

import numpy as np

from keras_vit.system.limits import MAX_ARRAYS, MAX_EXPANDED, MAX_NAME, MAX_PICKLE, MAX_RANK, MAX_REPEATED, MAX_UNPACKED
from keras_vit.weights import pickles
from keras_vit.weights.entries import Entries, Entry, WeightFileError, damaged, from_bfloat16, is_shape, refused
from keras_vit.weights.pickles import OPAQUE, Fixed, Function, RefusedError, described

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_LEGACY_START = b"\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."  # LONG1, ten bytes, STOP
_USUAL = 2**20  # bytes at the start of a file in which its pickles nearly always end

_DEEPEST, _LONGEST = 8, 256  # of dictionaries with tensors: how many are in each other, characters of the keys to one

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


class _StorageType(Fixed):
    """A class of storages: the format of its numbers."""

    __slots__ = ("dtype",)

    def __init__(self, dtype):
        self.dtype = dtype


class _Storage(Fixed):
    """An array of numbers in the file: key, format, count; `base` is the offset of a view of it."""

    __slots__ = ("key", "dtype", "count", "base")

    def __init__(self, key, dtype, count, base=0):
        self.key, self.dtype, self.count, self.base = key, dtype, count, base

    @property
    def itemsize(self):
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    @property
    def size(self):
        """Its bytes."""
        return self.count * self.itemsize


class _Tensor(Fixed):
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
    if not isinstance(storage, _Storage) or not all(map(is_shape, ((offset,), shape, strides))):
        raise RefusedError("a tensor of the file has no storage, or a negative size, stride or offset, or one of 2^63")
    if len(shape) != len(strides):
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


def _size(items=()):
    """A torch.Size."""
    if len(items) > MAX_RANK:
        raise RefusedError(f"a tensor of the file has {len(items)} axes; the limit is {MAX_RANK} (MAX_RANK)")
    return tuple(items)


def _rebuild_parameter(tensor, *_):
    return tensor


def _vocabulary():
    """{(module, name): its replacement}, for all names that a file may contain."""
    opaque = [("torch", name) for name in _TORCH_DTYPES]
    opaque += [("torch", "device"), ("_codecs", "encode"), ("numpy", "dtype")]
    opaque += [(f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")]
    opaque += [("argparse", "Namespace"), ("yacs.config", "CfgNode"), ("yacs", "CfgNode")]
    words = {name: OPAQUE for name in opaque}
    for name, dtype in _STORAGE_DTYPES.items():
        words["torch", name] = words["torch.storage", name] = _StorageType(dtype)
    words["collections", "OrderedDict"] = Function(pickles.dictionary)
    words["torch", "Size"] = Function(_size)
    words["torch._utils", "_rebuild_tensor"] = Function(_rebuild_tensor)
    words["torch._utils", "_rebuild_tensor_v2"] = Function(_rebuild_tensor)
    words["torch._utils", "_rebuild_parameter"] = Function(_rebuild_parameter)
    return words


_VOCABULARY = _vocabulary()


def _find(module, name):
    """The replacement of a name."""
    if (module, name) not in _VOCABULARY:
        raise RefusedError(
            f"it contains code or Python objects ({module[:60]}.{name[:60]}) and was not executed. Expected a "
            "dictionary of tensors. Save its state dict alone, with torch.save(model.state_dict(), 'weights.pth') "
            "where the model can be loaded, or as safetensors"
        )
    return _VOCABULARY[module, name]


class _Storages(dict):
    """{key: _Storage}, of those that a pickle names by their persistent ids."""

    def find(self, pid):
        """The storage of ("storage", type, key, device, count[, (key, offset, count)])."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise RefusedError(f"it contains something other than tensors ({described(pid)})")
        kind, key, count = pid[1], pid[2], pid[4]
        is_key = type(key) is str and len(key) <= MAX_NAME
        if not isinstance(kind, _StorageType) or not is_key or not is_shape((count,)):
            raise RefusedError(f"it describes a storage as {described(pid)}")
        base = 0
        if len(pid) == 6 and pid[5] is not None:
            view = pid[5]
            if type(view) is not tuple or len(view) != 3 or not is_shape(view[1:2]):
                raise RefusedError(f"it describes a view of a storage as {described(view)}")
            base = view[1]
        known = self.setdefault(key, _Storage(key, kind.dtype, count))
        if (known.dtype, known.count) != (kind.dtype, count):
            raise RefusedError(f"it describes storage {key} twice, differently")
        return known if base == 0 else _Storage(key, kind.dtype, count, base)


def _unpickle(path, data, start=0):
    """(object, position behind it, its `_Storages`): what a pickle builds from the vocabulary."""
    storages = _Storages()
    try:
        return *pickles.load(data, _find, storages.find, start), storages
    except RefusedError as error:
        raise refused(path, f"{error}") from error
    except pickles.NOT_A_PICKLE as error:
        found = f"{type(error).__name__}: {error}"
        if len(data) >= MAX_PICKLE and isinstance(error, (EOFError, IndexError)):
            found = f"none within {MAX_PICKLE:,} bytes, the limit of a pickle (MAX_PICKLE)"
        raise damaged(path, "a PyTorch checkpoint", found) from error


# --------------------------------------------------------------------------------------- zip layout


def root(names):
    """The folder of a torch zip, given its members' names, or None if it is not a torch zip."""
    for name in names:
        if name.endswith("/data.pkl") and name.count("/") == 1:
            return name.removesuffix("/data.pkl")
    return None


def read_zip(archive):
    """The `Entries` of a PyTorch file in the zip layout, given as an `Archive`."""
    path, folder = archive.path, root(archive.members)
    if any(name.startswith(f"{folder}/code/") for name in archive.members):
        raise WeightFileError(
            f"{path} is a TorchScript program, and was not executed. Expected a dictionary of tensors. With PyTorch: "
            f"torch.save(torch.jit.load({str(path)!r}, 'cpu').state_dict(), 'weights.pth')."
        )
    if f"{folder}/byteorder" in archive.members:
        order = archive.read(f"{folder}/byteorder", limit=100).strip()
        if order != b"little":
            raise _big_endian(path, order)
    tree, _, storages = _unpickle(path, archive.read(f"{folder}/data.pkl", limit=MAX_PICKLE))
    for storage in storages.values():
        name, size = f"{folder}/data/{storage.key}", storage.size
        if name not in archive.members or archive.size(name) < size:
            found = f"{archive.size(name)} bytes" if name in archive.members else "no such member"
            raise damaged(path, f"{size} bytes in {name}", found)
    return _entries(path, tree, lambda storage: archive.read(f"{folder}/data/{storage.key}"))


# ------------------------------------------------------------------------------------ legacy layout


def is_legacy(start):
    """Whether a file begins with the pickled magic number of the legacy layout."""
    return start[:1] == b"\x80" and start[2:15] == _LEGACY_START


def read_legacy(path):
    """The `Entries` of a PyTorch file in the legacy layout.

    Five pickles (magic number, protocol, facts about the machine, the object, the list of storage keys), then for each
    key an int64 count and the raw numbers.
    """
    with open(path, "rb") as file:
        try:
            tree, storages, keys, end = _five_pickles(path, file.read(_USUAL))
        except WeightFileError:
            file.seek(0)
            tree, storages, keys, end = _five_pickles(path, file.read(MAX_PICKLE))
        file.seek(end)
        places = _places(path, file, keys, storages)

    def read(storage):
        with open(path, "rb") as file:
            file.seek(places[storage.key])
            return file.read(storage.size)

    return _entries(path, tree, read)


def _five_pickles(path, data):
    """(the object, its storages, their keys, the position behind all five)."""
    magic, end, _ = _unpickle(path, data)
    protocol, end, _ = _unpickle(path, data, end)
    machine, end, _ = _unpickle(path, data, end)
    if magic != MAGIC or protocol != PROTOCOL or not isinstance(machine, dict):
        raise damaged(path, f"magic number and protocol {PROTOCOL} of PyTorch", f"protocol {described(protocol)}")
    if machine.get("little_endian") is not True:
        raise _big_endian(path, described(machine.get("little_endian")))
    tree, end, storages = _unpickle(path, data, end)
    keys, end, _ = _unpickle(path, data, end)
    return tree, storages, keys, end


def _places(path, file, keys, storages):
    """{storage key: its position in the file}, going from one count to the next."""
    texts = isinstance(keys, list) and all(type(key) is str for key in keys)
    if not texts or len(keys) != len(storages) or set(keys) != set(storages):
        raise damaged(path, f"the keys of {len(storages)} storages", described(keys))
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
        if places[key] + storage.size > end:
            raise damaged(path, f"{storage.count} numbers in storage {key}", "the end of the file")
        file.seek(places[key] + storage.size)
    return places


# -------------------------------------------------------------------------------------- state dicts


def _entries(path, tree, read):
    """The `Entries` of a checkpoint; `read` returns the bytes of a storage."""
    dictionaries = _dictionaries(path, tree)
    tensors = {name: tensor for found in dictionaries.values() for name, tensor in found.items()}
    if not tensors:
        raise _no_tensors(path, tree)
    _check_repetition(path, tensors.values())

    @functools.lru_cache(maxsize=1)  # tensors that share a storage follow each other
    def numbers(key):
        storage = storages[key]
        data = read(storage)
        if len(data) < storage.size:
            raise damaged(path, f"{storage.count} numbers in storage {key}", f"{len(data)} bytes")
        if storage.dtype == "bfloat16":
            return from_bfloat16(np.frombuffer(data, "<u2", storage.count))
        return np.frombuffer(data, storage.dtype, storage.count)

    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    entries = {
        name: Entry(tensor.shape, lambda tensor=tensor: tensor.of(numbers(tensor.storage.key)))
        for name, tensor in tensors.items()
    }
    return Entries(path, entries, dictionaries)


def _check_repetition(path, tensors):
    """Raise where little of a file becomes much: by tensors that repeat numbers, and by views that read them again."""
    held = sum({tensor.storage.key: tensor.storage.size for tensor in tensors}.values())
    before, read = None, 0
    for tensor in tensors:
        count, storage = math.prod(tensor.shape), tensor.storage
        if count > max(storage.count, MAX_EXPANDED):
            raise refused(
                path,
                f"a tensor of shape {tensor.shape} repeats the {storage.count:,} numbers of its storage; the limit is "
                f"{MAX_EXPANDED:,} (MAX_EXPANDED)",
            )
        read += max(count * storage.itemsize, 0 if storage.key == before else storage.size)
        before = storage.key
    if read > MAX_REPEATED * held + MAX_UNPACKED:
        raise refused(path, f"its tensors read {read:,} bytes of storages that hold {held:,} (MAX_REPEATED)")


def _dictionaries(path, tree):
    """{"name.of.dictionary": {name: _Tensor}} for all dictionaries that hold tensors under names.

    The names of the tensors begin with that of their dictionary. Each dictionary is taken once, where it is first.
    """
    found, seen, waiting, count = {}, set(), collections.deque([("", tree, 0)]), 0
    while waiting:
        name, here, depth = waiting.popleft()
        if not isinstance(here, dict) or id(here) in seen:
            continue
        seen.add(id(here))
        start = f"{name}." if name else ""
        tensors = {key: item for key, item in here.items() if isinstance(item, _Tensor)}
        count += len(tensors)
        if count > MAX_ARRAYS:
            raise refused(path, f"it has {count:,} arrays or more; the limit is {MAX_ARRAYS:,} (MAX_ARRAYS)")
        if tensors:
            found[name] = {start + key: tensor for key, tensor in tensors.items()}
        if depth < _DEEPEST and len(start) <= _LONGEST:
            waiting += [(start + key, item, depth + 1) for key, item in here.items() if isinstance(item, dict)]
    return found


def _no_tensors(path, tree):
    found = f"the keys {list(tree)[:8]}" if isinstance(tree, dict) else type(tree).__name__
    optimizer = isinstance(tree, dict) and "param_groups" in tree
    remedy = " That is an optimizer's state; save that of the model, model.state_dict()." if optimizer else ""
    return WeightFileError(f"{path} holds no state dict: expected a dictionary of tensors. Received: {found}.{remedy}")


def _big_endian(path, found):
    return WeightFileError(
        f"{path} was written on a big-endian machine, which is not supported: expected little-endian numbers. "
        f"Received: {found!r}. Load it with PyTorch there and save it as safetensors."
    )
