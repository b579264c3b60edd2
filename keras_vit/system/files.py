"""Writing that is complete or absent: a name appears only once all behind it is on the disk.

The temporary lies beside the target, so that the last step is a rename within one file system. Its
name starts with a dot and tells host, process and thread; what a killed process left behind is
recognised by that and cleared by the next write to the same target. What is needed for a while only, and by nobody
else, lies in a scratch folder, which is recognised and cleared in the same way.
"""

import contextlib
import errno
import hashlib
import os
import platform
import shutil
import tempfile
import threading
import zlib
from multiprocessing.util import Finalize
from pathlib import Path

from keras_vit.system import special_files

LOCK = ".lock"
PATTERN = "*?[\\"  # characters that are special in TensorFlow's patterns of names


@contextlib.contextmanager
def atomic_file(path):
    """Yield a temporary path beside `path`, with its suffix, and rename it to `path` at the end.

    Missing parent folders are made. On any error in the block, an interrupt included, the temporary
    is removed and what was at `path` before stays as it was. A link stays a link: the file that it names is replaced,
    or made. Only regular files are replaced: into a device, a pipe or /dev/stdout the temporary, which then lies
    elsewhere, is written at the end.

    Raises:
        FileNotFoundError: if the block wrote nothing.
        IsADirectoryError: if `path` is a folder.
        OSError: if `path` is a link to itself, a disk or a socket, or takes no more; it names `path`.
    """
    special = special_files.is_special(path)
    target = Path(path) if special else Path(os.path.realpath(path))
    with _scratch_file(target) if special else _temporary_beside(target) as temporary:
        with _named_if_full(path):
            yield temporary
        if not temporary.is_file():
            raise FileNotFoundError(f"Nothing was written for {path}: expected a file at {temporary}.")
        if special:
            special_files.pour(temporary, target)
        elif special_files.is_special(target):  # since the block began
            raise OSError(f"{target} has become something else than a file; it stays as it is.")
        else:
            _sync(temporary)
            os.replace(temporary, target)
            _sync(target.parent)


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
def scratch_folder():
    """Yield the path of an empty folder in the system's temporary folder, and remove it at the end.

    What processes of this host left there when they were killed is removed first.
    """
    start = _clear_scratch()
    with tempfile.TemporaryDirectory(prefix=start, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def temporaries_in(folder):
    """Let what libraries put into the system's temporary folder meanwhile lie in another.

    TensorFlow translates functions into files there, and Keras has a folder for the parts of a model that it saves;
    killed, both leave them behind.
    """
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def keep_temporaries_together():
    """Let all temporary files of this process, and of those that it starts, lie in a scratch folder until it ends.

    So do those that libraries make, and leave behind where a process is killed.
    """
    folder = tempfile.mkdtemp(prefix=_clear_scratch())
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    # At the end of this process, not of one that it forks, and after multiprocessing has removed its own (at -100).
    Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=-200)


def _clear_scratch():
    """Remove the scratch folders of the dead; returns how the name of one of this process begins."""
    start = f"keras-vit-{_host()}-"
    for entry in Path(tempfile.gettempdir()).glob(f"{start}*"):
        process = entry.name[len(start) :].partition("-")[0]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(entry, ignore_errors=True)  # another user's stays
    return f"{start}{os.getpid()}-"


@contextlib.contextmanager
def _scratch_file(path):
    with scratch_folder() as folder:
        yield folder / f"written{path.suffix}"


@contextlib.contextmanager
def _named_if_full(path):
    """Let the error of a disk that takes no more name the file, which those of an open file do not."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def _temporary_beside(path):
    """Clear what dead processes left, yield the temporary's path, and at the end clear that too."""
    made = [folder for folder in path.parents if not folder.exists()]  # innermost first
    around = next(folder for folder in path.parents if folder.exists())
    if not around.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {around} is no folder.")
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


def sha256(path):
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_home():
    """The folder of what is kept between commands: KERAS_VIT_HOME, else ~/.cache/keras_vit."""
    return Path(os.environ.get("KERAS_VIT_HOME") or "~/.cache/keras_vit").expanduser()


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
