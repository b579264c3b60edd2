"""What every reader returns: the arrays of a weight file by name, each read when it is accessed.

`Archive` reads the members of a zip (npz and torch files are zips) without parsing the zip's directory for each.
"""

import dataclasses
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping

import numpy as np

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., lengths of name and extra field


@dataclasses.dataclass(frozen=True)
class Entry:
    """One array: its shape, known without reading, and the function that reads it."""

    shape: tuple
    load: Callable[[], np.ndarray]


class Entries(Mapping):
    """Arrays of a weight file by name: `entries[name]` reads one array, `shapes()` reads none."""

    def __init__(self, path, entries):
        self.path = path
        self._entries = dict(entries)

    def __getitem__(self, name):
        return widen(self._entries[name].load())

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


def widen(array):
    """float16 as float32, and everything else unchanged; both are exact."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def from_bfloat16(bits):
    """bfloat16, given as its bits in uint16, as float32, whose upper half it is."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def damaged(path, expected, found):
    """Return the error for a file that is cut short or changed; the remedy is to fetch it again."""
    return ValueError(
        f"{path} is damaged or not a weight file: expected {expected}. Received: {found}. Download it again."
    )


class Archive:
    """The members of a zip file by name, as bytes whose checksum is verified."""

    def __init__(self, path):
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self.members = {member.filename: member for member in archive.infolist()}
        except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeDecodeError) as error:
            raise damaged(path, "a complete zip file", f"{error}") from error

    def size(self, name):
        """The number of bytes of a member."""
        return self.members[name].file_size

    def head(self, name, count):
        """The first `count` bytes of a member or fewer, not verified."""
        member = self.members[name]
        if member.compress_type == zipfile.ZIP_STORED:
            with open(self.path, "rb") as file:
                self._seek(file, member)
                return file.read(min(count, member.file_size))
        with self._opened(member) as stream:
            return stream.read(count)

    def read(self, name):
        """All bytes of a member.

        Raises:
            ValueError: for a wrong length or checksum.
        """
        member = self.members[name]
        if member.compress_type != zipfile.ZIP_STORED:
            with self._opened(member) as stream:
                return self._inflated(stream, member)
        with open(self.path, "rb") as file:
            self._seek(file, member)
            data = file.read(member.file_size)
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise damaged(self.path, f"{member.filename} with its checksum", "other bytes")
        return data

    def _seek(self, file, member):
        """Seek to the first byte of a stored member, behind its local header, whose length varies."""
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if len(header) != _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise damaged(self.path, f"the zip header of {member.filename}", f"{header[:4]!r}")
        _, name, extra = _LOCAL_HEADER.unpack(header)
        file.seek(name + extra, io.SEEK_CUR)

    def _opened(self, member):
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.open(member)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise damaged(self.path, f"{member.filename} in the zip file", f"{error}") from error

    def _inflated(self, stream, member):
        try:
            return stream.read()
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise damaged(self.path, f"{member.filename} in the zip file", f"{error}") from error
