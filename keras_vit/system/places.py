"""The questions that are asked of a path and of a URL alike; the answers for URLs come from `remote`.

A URL is a text. It never becomes a `Path`, which would take one of its slashes away.
"""

import contextlib
import io
import os
import posixpath
from pathlib import Path

from keras_vit.system import remote
from keras_vit.system.remote import is_remote


def path_of(path):
    """A `Path`; a URL as it is."""
    return path if is_remote(path) else Path(path)


def plain(path):
    """A path as text without a slash at its end, and a local one without "." and doubled slashes."""
    return path.rstrip("/") if is_remote(path) else str(Path(path))


def absolute(path):
    """A local path with the folder that it is relative to; a URL as it is, without a slash at its end."""
    return plain(path) if is_remote(path) else str(Path(path).absolute())


def joined(folder, path):
    """A path that is relative to a folder; a URL, or an absolute local path, as it is."""
    if is_remote(path):
        return path
    if not is_remote(folder):
        return str(Path(folder) / path)
    if os.path.isabs(path):
        return path
    scheme, _, rest = folder.partition("://")
    return f"{scheme}://{posixpath.normpath(posixpath.join(rest, path))}"


def inside(folder, *names):
    """The path of what lies in a folder."""
    return "/".join((folder, *names)) if is_remote(folder) else os.path.join(folder, *names)


def inside_of(output, made):
    """Where a local file is in the end, which was made for `output` or for a part of it."""
    return inside(parent(output), os.path.basename(made)) if is_remote(output) else made


def parent(path):
    """The folder of a file."""
    return path.rpartition("/")[0] if is_remote(path) else str(Path(path).parent)


def stem(path):
    """The name of a file without its suffix."""
    return Path(os.path.basename(path)).stem


def relative(path, root):
    """A path relative to a folder, absolute or not: the same for a tree on a disk and its copy in a store."""
    if not is_remote(path) and not is_remote(root):
        return os.path.relpath(path, root)
    if not is_remote(path) or not is_remote(root) or path.split("/")[:3] != root.split("/")[:3]:
        return path
    return posixpath.relpath(*("/" + place.partition("://")[2] for place in (path, root)))


def is_folder(path):
    """Whether there is a folder."""
    return remote.is_folder(path) if is_remote(path) else os.path.isdir(path)


def is_file(path):
    """Whether there is a file, or an object."""
    return remote.facts(path) is not None if is_remote(path) else os.path.isfile(path)


def size(path):
    """Bytes of a file.

    Raises:
        FileNotFoundError: if there is none.
    """
    if not is_remote(path):
        return os.path.getsize(path)
    found = remote.facts(path)
    if found is None:
        raise FileNotFoundError(f"{path}: there is no such object.")
    return found.size


def scan(folder):
    """A context that gives the entries of a folder, as `os.scandir` does."""
    return contextlib.nullcontext(remote.scan(folder)) if is_remote(folder) else os.scandir(folder)


def list_anew(folder):
    """To be called once before a folder of a store is scanned, with those below it; see `remote.list_anew`."""
    if is_remote(folder):
        remote.list_anew(folder)


def read(path):
    """The bytes of a file."""
    return remote.read(path) if is_remote(path) else Path(path).read_bytes()


def open_text(path):
    """An open text file in UTF-8, with a byte-order mark or without; its line ends are as they are."""
    if is_remote(path):
        return io.TextIOWrapper(io.BytesIO(remote.read(path)), encoding="utf-8-sig", newline="")
    return open(path, newline="", encoding="utf-8-sig")
