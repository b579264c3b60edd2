"""Read a weight file into arrays by name; the first bytes decide the format, not the suffix.

Formats: safetensors, npz, PyTorch's two layouts, the tf_model.h5 of transformers, and the index.json of a model in
several files ("shards"). Half-precision entries (float16, bfloat16) become float32.
"""

import functools
import io
import json
import math
import pathlib
import re

import numpy as np

from keras_vit.system import bounded_json
from keras_vit.system.limits import MAX_HEADER
from keras_vit.weights import keras_file, tensorflow_h5, torch_file
from keras_vit.weights.entries import (
    Archive,
    Entries,
    Entry,
    WeightFileError,
    damaged,
    from_bfloat16,
    is_shape,
    reading,
    refused,
)

_FORMATS = "safetensors, npz or PyTorch (.pth, .bin), or the index.json of several such files"
_TENSORFLOW = re.compile(r".*\.(index|data-\d{5}-of-\d{5}|pb)")  # names of checkpoints and graphs

# Names of the number formats in a safetensors header; BF16 is read as its bits.
_SAFETENSORS_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "I16": "<i2",
    "U16": "<u2",
    "I32": "<i4",
    "U32": "<u4",
    "I64": "<i8",
    "U64": "<u8",
    "F16": "<f2",
    "BF16": "<u2",
    "F32": "<f4",
    "F64": "<f8",
}


def read(path):
    """The arrays of a weight file as `Entries`, a mapping that reads each when it is accessed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for files of another kind, damaged ones, those that would have to execute code, and for files
            written by Keras (`keras_vit.sources.loading` loads these).
    """
    path = pathlib.Path(path)
    if not path.is_file():
        reason = "it is a folder" if path.is_dir() else "it is no file" if path.exists() else "there is no such file"
        raise FileNotFoundError(f"Expected a weight file ({_FORMATS}), but {reason}. Received: {path}.")
    with reading(path):
        return _read(path)


def _read(path):
    if tensorflow_h5.is_tensorflow(path):
        return tensorflow_h5.read(path)
    if keras_file.is_keras(path):
        raise WeightFileError(
            f"{path} was written by Keras, whose files are not read entry by entry. Expected here: {_FORMATS}. "
            f"{keras_file.explain(path) or 'Pass its path as weights=, or to keras.saving.load_model.'}"
        )
    if _TENSORFLOW.fullmatch(path.name):
        raise WeightFileError(
            f"{path} is part of a TensorFlow checkpoint or SavedModel, which is not read. Expected {_FORMATS}. Restore "
            "it into the Keras model that it was saved from, and save that with model.save('x.keras')."
        )
    with open(path, "rb") as file:
        start = file.read(64)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _read_zip(path)
    if torch_file.is_legacy(start):
        return torch_file.read_legacy(path)
    if path.name.endswith(".json"):
        return _read_shards(path)
    if start[8:9] == b"{":
        return Entries(path, _safetensors(path))
    raise damaged(path, f"a file in the format {_FORMATS}", _describe(start))


def _read_zip(path):
    """Read a zip file, PyTorch's or numpy's."""
    archive = Archive(path)
    names = list(archive.members)
    if torch_file.root(names) is not None:
        return torch_file.read_zip(archive)
    if names and all(name.endswith(".npy") for name in names):
        return Entries(path, _npz(archive))
    raise damaged(path, "a zip file with data.pkl (PyTorch) or .npy members (npz)", f"members {names[:5]}")


def _read_shards(index):
    """Read the files that an index.json names: {"weight_map": {name of an entry: file in the same folder}}."""
    size = index.stat().st_size
    if size > MAX_HEADER:
        raise refused(index, f"it has {size:,} bytes; the limit is {MAX_HEADER:,} (MAX_HEADER)")
    place = bounded_json.parse(index.read_bytes())
    place = place.get("weight_map") if isinstance(place, dict) else None
    if not isinstance(place, dict) or not place or not all(isinstance(file, str) for file in place.values()):
        raise damaged(index, 'an object with a "weight_map" from names to files', "another one")
    files = dict.fromkeys(place.values())
    if outside := [file for file in files if file in ("", ".", "..") or set(file) & set("/\\:\0")]:
        raise refused(index, f"it names {outside[0][:200]!r}; its files must lie in the folder of the index")
    if missing := [file for file in files if not (index.parent / file).is_file()]:
        raise WeightFileError(
            f"{index}: {len(missing)} of its {len(files)} files are missing: {', '.join(missing[:5])[:500]}. Expected "
            f"them in {index.parent}. Download them too."
        )
    shards, entries = {file: _read(index.parent / file) for file in files}, {}
    for name, file in place.items():
        if name not in shards[file]:
            raise damaged(index.parent / file, f"the array {name[:200]}, as {index.name} says", "others")
        entries[name] = Entry(shards[file].shapes()[name], functools.partial(shards[file].__getitem__, name))
    return Entries(index, entries)


def _describe(start):
    """What a file is, by its first bytes, for an error."""
    if not start:
        return "an empty file"
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page (an error page of the server, most likely)"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the file"
    kinds = {
        b"\xff\xd8\xff": "a JPEG image",
        b"\x89PNG": "a PNG image",
        b"\x1f\x8b": "a gzip file",
    }
    for magic, kind in kinds.items():
        if start.startswith(magic):
            return kind
    return f"first bytes {start[:8]!r}"


# -------------------------------------------------------------------------------------- safetensors


def _safetensors(path):
    """{name: Entry} of a safetensors file."""
    header, start = _safetensors_header(path)
    header.pop("__metadata__", None)
    return {name: _safetensors_entry(path, name, item, start) for name, item in header.items()}


def safetensors_metadata(path):
    """The metadata of a safetensors file, {name: text}; empty without any.

    Raises:
        WeightFileError: if it is no complete file of this format.
    """
    found, _ = _safetensors_header(pathlib.Path(path))
    return found.get("__metadata__", {})


def _safetensors_header(path):
    """(what its JSON says, first byte behind it) of a file; the safetensors package validates it."""
    import safetensors

    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if MAX_HEADER < length <= path.stat().st_size:
        raise refused(path, f"its header has {length:,} bytes; the limit is {MAX_HEADER:,} (MAX_HEADER)")
    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass
    except safetensors.SafetensorError as error:
        raise damaged(path, "a complete safetensors file", f"{error}") from error
    with open(path, "rb") as file:
        file.seek(8)
        return json.loads(file.read(length)), 8 + length


def _safetensors_entry(path, name, item, start):
    """One Entry from its header item; the data begin at byte `start` of the file."""
    kind, shape, (first, end) = item["dtype"], tuple(item["shape"]), item["data_offsets"]
    if kind not in _SAFETENSORS_DTYPES:
        raise WeightFileError(
            f"{path}: {name} has an unsupported number format. Expected one of "
            f"{', '.join(_SAFETENSORS_DTYPES)}. Received: {kind}. Save it as F32."
        )

    count = math.prod(shape)
    if not is_shape(shape) or count * np.dtype(_SAFETENSORS_DTYPES[kind]).itemsize != end - first:
        raise damaged(path, f"numbers of shape {shape} for {name}", f"{end - first} bytes")

    def load():
        array = np.fromfile(path, _SAFETENSORS_DTYPES[kind], count, offset=start + first)
        if array.size != count:
            raise damaged(path, f"{count} numbers for {name}", f"{array.size}")
        array = array.reshape(shape)
        return from_bfloat16(array) if kind == "BF16" else array

    return Entry(shape, load)


# ---------------------------------------------------------------------------------------------- npz


def _npz(archive):
    """{name: Entry} of an .npz file; arrays of Python objects are a ValueError."""
    return {name.removesuffix(".npy"): _npz_entry(archive, name) for name in archive.members}


def _npz_entry(archive, member):
    with reading(archive.path, f"an array in {member}"):
        shape, dtype, start = _npy_header(archive.head(member, 4096))
    if dtype.hasobject:
        raise WeightFileError(
            f"{archive.path}: {member} holds Python objects, which only code in the file can rebuild; it was not "
            "executed. Expected numbers. Save the file again as plain arrays."
        )

    held = archive.size(member) - start
    if not is_shape(shape) or not dtype.itemsize or math.prod(shape) * dtype.itemsize != held:
        raise damaged(archive.path, f"an array of shape {str(shape)[:200]} of {dtype} in {member}", f"{held} bytes")

    def load():
        array = np.lib.format.read_array(io.BytesIO(archive.read(member)), allow_pickle=False)
        # numpy has no bfloat16: JAX's arrays of it are stored as two opaque bytes each
        return from_bfloat16(array.view("<u2")) if array.dtype == np.dtype("V2") else array

    return Entry(shape, load)


def _npy_header(start):
    """(shape, dtype, bytes of the header) from the first bytes of an .npy member."""
    stream = io.BytesIO(start)
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the npy format is not supported")
    shape, _, dtype = readers[version](stream)
    return shape, dtype, stream.tell()
