"""Bounds of time and memory for what a test does with one hostile input."""

import contextlib
import pathlib
import signal

import psutil

_HANGING = 6  # times as many seconds of the clock are no sign of a busy machine any more
_STATUS, _CLEAR = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")


class TooLongError(BaseException):
    """More than the seconds that were promised; no `except Exception` swallows it."""


def _too_long(*_):
    raise TooLongError


def _peak():
    """The most memory of this process in bytes since it was reset; None where the system does not say."""
    if not _STATUS.exists():
        return None
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@contextlib.contextmanager
def within(seconds, size):
    """Inside, no more than `seconds` of the processor and `size` bytes above what the process had before are used."""
    base = psutil.Process().memory_info().rss
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # resets the peak
    with _timer(signal.ITIMER_PROF, signal.SIGPROF, seconds):
        with _timer(signal.ITIMER_REAL, signal.SIGALRM, _HANGING * seconds):
            yield
    peak = _peak()
    assert peak is None or peak - base <= size, f"{(peak - base) / 2**20:.0f} MiB"


@contextlib.contextmanager
def _timer(clock, number, seconds):
    before = signal.signal(number, _too_long)
    signal.setitimer(clock, seconds)
    try:
        yield
    finally:
        signal.setitimer(clock, 0)
        signal.signal(number, before)
