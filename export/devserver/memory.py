"""Memory: what was freed goes back to the system, and Python does not look for cycles where there are none.

The C library keeps what large requests took, in the pool of whichever thread had it, up to as much as requests in
flight ever took at once. It is asked for it now and then, which takes it a millisecond.
"""

import contextlib
import ctypes
import functools
import gc


def give_back():
    """Have the C library return free memory to the system, where it can (glibc)."""
    trim = trimming()
    if trim is not None:
        trim(0)


@functools.cache
def trimming():
    """The C library's function for it, or None."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows cannot name the program itself
        return None


@contextlib.contextmanager
def without_cycles():
    """A block that makes many objects and no cycles, as a JSON parser does: looking for them would take most of it."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()
