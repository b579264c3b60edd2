"""Writing that is complete or absent: a name appears only once all behind it is on the disk.

The temporary lies beside the target, so that the last step is a rename within one file system. Its
name starts with a dot and tells host, process and thread; what a killed process left behind is
recognised by that and cleared by the next write to the same target.
"""

import contextlib
import os
import platform
import shutil
import threading
import zlib
from pathlib import Path

LOCK = ".lock"
PATTERN = "*?[\\"  # characters that are special in TensorFlow's patterns of names


@contextlib.contextmanager
def atomic_file(path):
    """Yield a temporary path beside `path`, with its suffix, and rename it to `path` at the end.

    Missing parent folders are made. On any error in the block, an interrupt included, the temporary
    is removed and what was at `path` before stays as it was.

    Raises:
        FileNotFoundError: if the block wrote nothing.
        IsADirectoryError: if `path` is a folder.
    """
    path = Path(os.path.realpath(path))  # through a link: the file it names is replaced, not the link
    if path.is_dir():
        raise IsADirectoryError(f"Expected the path of a file. Received a folder: {path}.")
    with _temporary_beside(path) as temporary:
        yield temporary
        if not temporary.is_file():
            raise FileNotFoundError(f"Nothing was written for {path}: expected a file at {temporary}.")
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path):
    """Yield an empty temporary folder beside `path`, and rename it to `path` at the end.

    On any error in the block the temporary is removed with all that is in it.

    Raises:
        FileExistsError: if there is anything at `path`, before the block or after it.
    """
    path = Path(os.path.abspath(path))
    _refuse_existing(path)
    with _temporary_beside(path) as temporary:
        temporary.mkdir()
        yield temporary
        for entry in sorted(temporary.rglob("*"), reverse=True):
            if not entry.is_symlink():
                _sync(entry)
        _sync(temporary)
        _refuse_existing(path)
        os.rename(temporary, path)
        _sync(path.parent)


@contextlib.contextmanager
def held(folder):
    """Hold a folder that is written to for hours, so that no other process does; an end of any kind lets it go.

    The lock is that of the file .lock in the folder, which stays behind. File systems without locks are not guarded.

    Raises:
        ValueError: if another process of this machine holds it.
    """
    import filelock  # here, as psutil below: most of what imports this module writes nothing

    lock = filelock.FileLock(Path(folder) / LOCK, blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise ValueError(f"{folder} is being written to by another process; wait for it, or stop it.") from error
    except (NotImplementedError, OSError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _temporary_beside(path):
    """Clear what dead processes left, yield the temporary's path, and at the end clear that too."""
    made = [folder for folder in path.parents if not folder.exists()]  # innermost first
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_stale(path)
    temporary = path.with_name(_temporary_name(path, os.getpid(), threading.get_native_id()))
    _remove(temporary)  # of an earlier process with our number, as containers give it
    try:
        yield temporary
    finally:
        _remove(temporary)
        with contextlib.suppress(OSError):  # the folders made here go again unless something is in them
            for folder in made:
                folder.rmdir()


def clear_stale(path):
    """Remove temporaries for `path` whose process, on this host, is no longer alive."""
    path = Path(path)
    start, end = f".{path.stem}.{_host()}-", f".tmp{path.suffix}"
    for entry in path.parent.iterdir():
        if entry.name.startswith(start) and entry.name.endswith(end):
            process, _, thread = entry.name[len(start) : -len(end)].partition("-")
            if process.isdigit() and thread.isdigit() and not _alive(int(process)):
                _remove(entry)


def _temporary_name(path, process, thread):
    return f".{path.stem}.{_host()}-{process}-{thread}.tmp{path.suffix}"


def _host():
    """Eight letters for this host; another host's process numbers on a shared disk mean nothing."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _alive(process):
    import psutil

    return psutil.pid_exists(process)


def _refuse_existing(path):
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists already; give another name or remove it first.")


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path):
    """Ask the system to put the file's (or folder's list of) contents on the disk; Windows takes no folders."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_pattern(path):
    r"""Raise a ValueError if TensorFlow would take a path for a pattern of names.

    It looks for a SavedModel's variables by a pattern that begins with the folder's path, in TF Serving too: below a
    folder "a[1]" or "a\b" it finds none, and below "a*b" or "a?b" perhaps those of another folder. All other files are
    found by name, and may lie anywhere.
    """
    path = os.path.abspath(path)
    found = [character for character in PATTERN if character in path and character != os.sep]
    if found:
        raise ValueError(
            f"{path}: TensorFlow takes {' and '.join(found)} in the path of a SavedModel for a pattern of names, and "
            "would not find its variables, nor would TF Serving. Give a path without, or rename the folder."
        )
