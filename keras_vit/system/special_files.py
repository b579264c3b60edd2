"""Files that are no regular ones: devices, pipes, and the streams that a process has open.

Where such a file is named for output, the output is written into it; it is never replaced. /dev/stdout, /dev/fd/3 and
the like are the process's own streams, so that what follows in them stays behind what was written.
"""

import contextlib
import errno
import os
import re
import stat
import sys
import time
from pathlib import Path

STREAM = re.compile(r"/proc/\d+(?:/task/\d+)?/fd")  # the folder of a process's open files, on Linux
MOST_LINKS = 40  # that lead to one another, as in Linux
READER_SECONDS = 10  # that a pipe without a reader is waited for
CHUNK = 2**20  # bytes written at once


def is_special(path):
    """Whether output for `path` is to be written into what is there, not to replace it: all but files and nothing.

    Raises:
        OSError: naming a link that leads to itself, a folder, a disk or a socket, which take no output.
    """
    path = os.fspath(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False  # nothing, or a link to nothing: the file is made where it leads
    if stream_of(path) is not None:
        return True
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"Expected the path of a file. Received a folder: {path}.")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        raise OSError(f"{path} is no file to write to, but a disk or a socket. Give the path of a file.")
    return not stat.S_ISREG(mode)


def stream_of(path):
    """The number of this process's open file that `path` names, such as /dev/stdout: 1; None of other paths."""
    path = os.path.abspath(path)
    for _ in range(MOST_LINKS):
        folder, name = os.path.split(path)
        found = STREAM.fullmatch(os.path.realpath(folder))
        if found and name.isdigit() and f"/proc/{os.getpid()}/" in f"{os.path.realpath(folder)}/":
            return int(name)
        if not os.path.islink(path):
            return None
        path = os.path.normpath(os.path.join(folder, os.readlink(path)))
    return None


def pour(source, target):
    """Write the content of the file `source` into the special file `target`.

    Raises:
        OSError: naming `target`; also if it is a pipe that nobody reads from for READER_SECONDS.
    """
    number = stream_of(target)
    try:
        with Path(source).open("rb") as file, _stream(number) if number is not None else _opened(target) as descriptor:
            while chunk := file.read(CHUNK):
                while chunk:
                    chunk = chunk[os.write(descriptor, chunk) :]
    except OSError as error:
        raise OSError(f"{target} could not be written: {error.strerror or error}.") from error


@contextlib.contextmanager
def _stream(number):
    for stream in (sys.stdout, sys.stderr):  # what was printed before stays before it
        with contextlib.suppress(AttributeError, ValueError):  # there is none, or it is closed
            stream.flush()
    yield number


@contextlib.contextmanager
def _opened(path):
    end = time.monotonic() + READER_SECONDS
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
            break
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > end:
                raise OSError("nobody reads from this pipe" if error.errno == errno.ENXIO else error) from error
            time.sleep(0.05)
    try:
        os.set_blocking(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)
