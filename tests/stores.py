"""Object stores for tests: fsspec's in memory, and what breaks in it."""

import contextlib

from fsspec.implementations.memory import MemoryFileSystem

from keras_vit.system import remote


@contextlib.contextmanager
def store_in_memory(monkeypatch, home=None):
    """Yield the file system memory://, empty before and after, of which nothing is waited for.

    Args:
        home: where what is kept between commands lies meanwhile.
    """
    monkeypatch.setattr(remote, "PAUSE", 0)
    if home is not None:
        monkeypatch.setenv("KERAS_VIT_HOME", str(home))
    yield empty_store()
    empty_store()


def empty_store():
    """Forget what lies in memory://; its file system."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return MemoryFileSystem()


def put(folder, url):
    """Copy a local folder, with all below it, to a URL in memory."""
    files = MemoryFileSystem()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files.pipe_file(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return url


def breaking(monkeypatch, method, errors):
    """Let a method of the file system in memory raise the next of some errors before it works; returns its calls."""
    calls, left, real = [], iter(errors), getattr(MemoryFileSystem, method)

    def broken(self, path, *arguments, **named):
        calls.append(path)
        error = next(left, None)
        if error is not None:
            raise error
        return real(self, path, *arguments, **named)

    monkeypatch.setattr(MemoryFileSystem, method, broken)
    return calls
