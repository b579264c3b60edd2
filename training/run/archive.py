"""The file of a checkpoint: arrays and a text in an uncompressed zip, as numpy.savez writes one, read with suspicion.

What the file declares (members, sizes, shapes) is compared with what it holds and with what is expected before an
array is allocated, so that reading takes no more memory than the file has bytes; whatever is wrong is one ValueError.
"""

import contextlib
import hashlib
import json
import math
import os
import stat
import zipfile

import numpy as np

TEXT = "state.json"
CHECKSUM = "checksum"
NUMBERS = "biuf"  # NumPy's letters for the kinds of numbers
MAX_TEXT = 2**26  # bytes of the text; a line of 100 for each of 5 % bad images among 10 million is less


def write(file, arrays, state):
    """Write {name: array} and the dictionary `state` into an open file; the state gets the checksum of all of it."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as members:
        for name, array in arrays.items():
            _write_array(members, name, np.asanyarray(array))
        state = state | {CHECKSUM: _checksum(members.infolist(), state)}
        _write_array(members, TEXT, np.frombuffer(json.dumps(state).encode(), "uint8"))


def _write_array(members, name, array):
    with members.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:  # without the time of writing
        np.lib.format.write_array(member, array, allow_pickle=False)


class Archive:
    """An open file; use it as a context.

    Args:
        path: of the file; another than a regular one is refused, so that nothing waits for a pipe.

    Attributes:
        names: of the arrays.
    Raises:
        ValueError: saying what is wrong; the other methods too.
    """

    def __init__(self, path):
        with contextlib.ExitStack() as stack, _one_error():
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            file = stack.enter_context(open(descriptor, "rb"))
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is no regular file")
            self._zip = stack.enter_context(zipfile.ZipFile(file))
            self._members = _checked_members(self._zip.infolist(), status.st_size)
            self._open = stack.pop_all()
        self.names = [name for name in self._members if name != TEXT]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._open.close()

    def state(self):
        """The dictionary. Its checksum, if it has one, is compared with that of the members; older files have none."""
        with _one_error():
            shape, dtype = self.header(TEXT)
            if dtype != np.uint8 or len(shape) != 1 or shape[0] > MAX_TEXT:
                raise ValueError(f"its {TEXT} is no text of {MAX_TEXT} bytes at most")
            state = json.loads(self.array(TEXT).tobytes())
            if not isinstance(state, dict):
                raise ValueError(f"its {TEXT} is no dictionary")
            others = [member for name, member in self._members.items() if name != TEXT]
            if state.pop(CHECKSUM, None) not in (None, _checksum(others, state)):
                raise ValueError("its state and its arrays do not belong together: the checksum differs")
            return state

    def header(self, name):
        """(shape, dtype) of an array, which are numbers of as many bytes as it has."""
        with _one_error(), self._zip.open(self._members[name]) as member:
            version = np.lib.format.read_magic(member)
            if version not in HEADERS:
                raise ValueError(f"{name} has the .npy version {version}")
            shape, _, dtype = HEADERS[version](member)
            size = self._members[name].file_size - member.tell()
            if dtype.kind not in NUMBERS or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size:
                raise ValueError(f"{name} declares {dtype} {str(shape)[:100]}, which are not its {size} bytes")
            return shape, dtype

    def array(self, name):
        """The array, whose bytes have the CRC-32 that the zip states."""
        with _one_error():
            self.header(name)
            with self._zip.open(self._members[name]) as member:
                return np.lib.format.read_array(member, allow_pickle=False)


HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def _checked_members(members, size):
    """{name: member} of the members of a zip in a file of `size` bytes."""
    packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise ValueError(f"{packed[0][:100]!r} is compressed, as no checkpoint is")
    if sum(member.file_size for member in members) > size:
        raise ValueError(f"its arrays would have more bytes than its {size}")
    named = {member.filename.removesuffix(".npy"): member for member in members}
    if len(named) < len(members):
        raise ValueError("two of its arrays have the same name")
    if TEXT not in named:
        raise ValueError(f"it has no {TEXT}")
    return named


def _checksum(members, state):
    """Of the names, sizes and CRC-32s of all arrays, and of the state."""
    listed = sorted((member.filename, member.file_size, member.CRC) for member in members)
    return hashlib.sha256(json.dumps([listed, state]).encode()).hexdigest()


@contextlib.contextmanager
def _one_error():
    """Whatever a reader raises is a ValueError: zipfile, NumPy and json raise a dozen kinds for damaged files."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"{type(error).__name__}: {reason[:300]}") from error
