"""A cache of bounded size, on the local disk, of what is read from object stores; several processes may share it.

An entry is a file that appears by a rename, named by a digest of the URL, of what the store says of the object (its
size, and its etag or time) and of the range; it begins with a CRC-32 of its content, so that one that a crash of the
machine damaged is read again. Its time is that of its last use: above the bound, those used least recently go.
"""

import contextlib
import functools
import hashlib
import os
import struct
import threading
import zlib
from pathlib import Path

from keras_vit.system import remote

SUM = struct.Struct("<I")
SCAN_EVERY = 0.02  # of the bound: after so much was added, all is counted again, since others add too
KEEP = 0.9  # of the bound, when entries are removed
MOST_KNOWN = 2**20  # objects whose etags are remembered


class DataCache:
    """A folder with what was read.

    Args:
        folder: of the entries; made if it is not there.
        gigabytes: that they may take, in 10^9 bytes, to a few percent.

    Raises:
        ValueError: for a bound of 0 or less.
    """

    def __init__(self, folder, gigabytes):
        if not gigabytes > 0:
            raise ValueError(f"The bound of the data cache must be above 0 gigabytes. Received: {gigabytes}.")
        self.folder, self.bound = Path(folder), int(gigabytes * 1e9)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._added, self._lock = self.bound, threading.Lock()  # so that the first entry counts what is there
        self._facts = functools.lru_cache(maxsize=MOST_KNOWN)(remote.facts)

    def read(self, url, offset=0, length=None):
        """As `remote.read`."""
        path = self._path(url, offset, length)
        with contextlib.suppress(OSError):  # it is not there, or another process has just removed it
            record = path.read_bytes()
            if len(record) >= SUM.size and SUM.unpack_from(record)[0] == zlib.crc32(record[SUM.size :]):
                os.utime(path)
                return record[SUM.size :]
        content = remote.read(url, offset, length)
        self._add(path, content)
        return content

    def _path(self, url, offset, length):
        key = repr((url, self._facts(url), offset, length)).encode("utf-8", "surrogateescape")
        name = hashlib.sha256(key).hexdigest()
        return self.folder / name[:2] / name[2:40]

    def _add(self, path, content):
        """Write an entry; a disk that is full makes the cache smaller, and is no error."""
        size = SUM.size + len(content)
        if size > KEEP * self.bound:
            return
        with self._lock:
            self._added += size
            if self._added > SCAN_EVERY * self.bound:
                self._make_room(size)
                self._added = 0
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp")
        try:
            path.parent.mkdir(exist_ok=True)
            temporary.write_bytes(SUM.pack(zlib.crc32(content)) + content)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)

    def _make_room(self, size):
        """Remove what was used least recently, also what killed processes left, if all and `size` exceed the bound."""
        entries = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                entries.append((status.st_mtime_ns, status.st_size, path))
        total = sum(entry[1] for entry in entries) + size
        if total <= (1 - SCAN_EVERY) * self.bound:
            return
        for _, freed, path in sorted(entries):
            if total <= KEEP * self.bound:
                break
            path.unlink(missing_ok=True)
            total -= freed
