"""What every reader returns: the arrays of a weight file by name, each read when it is accessed.

`Archive` reads the members of a zip (npz and torch files are zips) without parsing the zip's directory for each.
"""

import bz2
import contextlib
import dataclasses
import io
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping

import numpy as np

from keras_vit.system.limits import (
    MAX_ARRAYS,
    MAX_DIRECTORY,
    MAX_NAME,
    MAX_RANK,
    MAX_UNPACKED,
    MAX_UNPACKED_RATIO,
)

_DICTIONARY = 2**26  # bytes of memory that LZMA may take
_BLOCK = 2**20  # bytes, of which BZIP2 unpacks at least the first
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., lengths of name and extra field


class WeightFileError(ValueError):
    """A weight file that is not read; the message has its path, what is wrong and the remedy."""


def damaged(path, expected, found):
    """Return the error for a file that is cut short or changed; the remedy is to fetch it again."""
    return WeightFileError(
        f"{path} is damaged or not a weight file: expected {expected}. Received: {found}. Download it again."
    )


def refused(path, reason):
    """Return the error for a file with something that is not allowed."""
    return WeightFileError(f"{path} is not read: {reason}.")


@contextlib.contextmanager
def reading(path, what="a weight file"):
    """Inside, whatever is raised becomes one error that names the file."""
    try:
        yield
    except WeightFileError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename:  # not to be opened: it says so, and names the file
            raise
        reason = str(error).strip()[:500]
        raise damaged(path, what, f"{type(error).__name__}{': ' * bool(reason)}{reason}") from error


def is_shape(sizes):
    """Whether these are sizes of an array, or counts of its numbers: integers from 0 to 2^63, not too many of them."""
    return (
        type(sizes) in (list, tuple)
        and len(sizes) <= MAX_RANK
        and all(type(size) is int and 0 <= size < 2**63 for size in sizes)
    )


@dataclasses.dataclass(frozen=True)
class Entry:
    """One array: its shape, known without reading, and the function that reads it."""

    shape: tuple
    load: Callable[[], np.ndarray]


class Entries(Mapping):
    """Arrays of a weight file by name: `entries[name]` reads one array, `shapes()` reads none.

    Attributes:
        path: of the file.
        dictionaries: where a file has dictionaries in each other, {dictionary: the names of its arrays}. The outermost
            is ""; of one in it, "state_dict", the names of the arrays begin with "state_dict.".
    """

    def __init__(self, path, entries, dictionaries=None):
        self.path, self.dictionaries = path, dict(dictionaries or {})
        self._entries = dict(entries)
        if len(self._entries) > MAX_ARRAYS:
            raise refused(path, f"it has {len(self._entries):,} arrays; the limit is {MAX_ARRAYS:,} (MAX_ARRAYS)")
        if longest := [name for name in self._entries if len(name) > MAX_NAME]:
            count = len(longest[0])
            raise refused(path, f"a name of it has {count:,} characters; the limit is {MAX_NAME:,} (MAX_NAME)")

    def __getitem__(self, name):
        entry = self._entries[name]
        with reading(self.path, f"the array {name}"):
            return widen(entry.load())

    def __contains__(self, name):
        return name in self._entries

    def __iter__(self):
        return iter(self._entries)

    def __len__(self):
        return len(self._entries)

    def __repr__(self):
        return f"Entries({str(self.path)!r}, {len(self)} arrays)"

    def shapes(self):
        """{name: shape}, without reading any array."""
        return {name: entry.shape for name, entry in self._entries.items()}

    def renamed(self, names):
        """The `Entries` of {new name: name}, without any others."""
        return Entries(self.path, {new: self._entries[name] for new, name in names.items()})


def widen(array):
    """float16 as float32, and everything else unchanged; both are exact."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def from_bfloat16(bits):
    """bfloat16, given as its bits in uint16, as float32, whose upper half it is."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


class _Directory(io.BufferedReader):
    """A zip file as `zipfile` reads it, of which no long part is read at once: all that it reads is the directory."""

    def read(self, size=-1, /):
        if size > MAX_DIRECTORY:
            raise ValueError(f"its list of members has {size:,} bytes; the limit is {MAX_DIRECTORY:,} (MAX_DIRECTORY)")
        return super().read(size)


class Archive:
    """The members of a zip file by name, as bytes whose checksum is verified.

    What the members unpack to is bounded, whatever they are packed with: by MAX_UNPACKED_RATIO times the file.
    """

    def __init__(self, path):
        self.path = path
        with reading(path, "a complete zip file"), _Directory(io.FileIO(path)) as file:
            with zipfile.ZipFile(file) as archive:
                self.members = {member.filename: member for member in archive.infolist()}
            self._check(os.fstat(file.fileno()).st_size)

    def _check(self, held):
        """Compare the sizes that the directory declares with the file, `held` bytes long."""
        for name, member in self.members.items():
            end = member.header_offset + _LOCAL_HEADER.size + member.compress_size
            stored = member.compress_type == zipfile.ZIP_STORED
            if member.header_offset < 0 or end > held or (stored and member.compress_size != member.file_size):
                raise damaged(self.path, f"{member.file_size} bytes in {name[:100]}", f"a zip file of {held} bytes")
        size, limit = sum(member.file_size for member in self.members.values()), max_unpacked(held)
        if size > limit:
            raise refused(
                self.path,
                f"its {held:,} bytes unpack to {size:,}; the limit is {limit:,} (MAX_UNPACKED, MAX_UNPACKED_RATIO)",
            )

    def size(self, name):
        """The number of bytes of a member."""
        return self.members[name].file_size

    def head(self, name, count):
        """The first `count` bytes of a member or fewer, not verified."""
        member = self.members[name]
        with reading(self.path, f"{name[:100]} in the zip file"):
            packed = count if member.compress_type == zipfile.ZIP_STORED else _BLOCK
            return self._unpacked(member, self._packed(member, packed), count)

    def read(self, name, limit=None):
        """All bytes of a member.

        Args:
            limit: of its bytes; more are an error.

        Raises:
            ValueError: for a wrong length or checksum.
        """
        member = self.members[name]
        if limit is not None and member.file_size > limit:
            raise refused(self.path, f"{name} has {member.file_size:,} bytes; the limit is {limit:,}")
        with reading(self.path, f"{name[:100]} in the zip file"):
            data = self._unpacked(member, self._packed(member, member.compress_size), member.file_size + 1)
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise damaged(self.path, f"{name[:100]} with its checksum", "other bytes")
        return data

    def _packed(self, member, count):
        """The first `count` bytes of a member as the file has them: behind its local header, whose length varies."""
        with open(self.path, "rb") as file:
            file.seek(member.header_offset)
            header = file.read(_LOCAL_HEADER.size)
            if len(header) != _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
                raise damaged(self.path, f"the zip header of {member.filename[:100]}", f"{header[:4]!r}")
            _, name, extra = _LOCAL_HEADER.unpack(header)
            file.seek(name + extra, io.SEEK_CUR)
            return file.read(min(count, member.compress_size))

    def _unpacked(self, member, packed, count):
        """The first `count` bytes of a member, given its packed bytes or the first of them."""
        if member.flag_bits & 1:
            raise ValueError("it is encrypted")
        if member.compress_type == zipfile.ZIP_STORED:
            return packed[:count]
        if member.compress_type == zipfile.ZIP_DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, count)
        if member.compress_type == zipfile.ZIP_BZIP2:
            return bz2.BZ2Decompressor().decompress(packed, count)
        if member.compress_type == zipfile.ZIP_LZMA:  # version, length 5 and the properties; then as in a .lzma file
            alone = packed[4:9] + b"\xff" * 8 + packed[9:]
            return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_DICTIONARY).decompress(alone, count)
        raise ValueError(f"it is packed by an unknown method, {member.compress_type}")


def max_unpacked(held):
    """The bytes that a file of `held` bytes may unpack to."""
    return max(MAX_UNPACKED, MAX_UNPACKED_RATIO * held)
