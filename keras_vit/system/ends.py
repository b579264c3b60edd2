"""How `keras-vit` ends by a signal: a line, the status 128 + its number, nothing left behind, no traceback.

While it starts (Python's and TensorFlow's imports, which turn an interrupt into errors of their own or lose it), Ctrl-C
ends the process at once: nothing was begun. While a verb works, Ctrl-C, SIGTERM and SIGHUP become exceptions, so that
temporary files are removed; if the process does not come to that within GRACE seconds, because it waits in TensorFlow,
it is ended, and the next one removes them. A verb with handlers of its own (`train`, `serve`) has its own end.

In a program that imports this library nothing is changed: `is_command` is false there.
"""

import contextlib
import os
import signal
import sys
import threading
import time

GRACE = 10  # seconds
NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ended(SystemExit):
    """A signal ends the process; like KeyboardInterrupt no error that anybody handles."""


class _State:
    """Of this process: the last signal, and where a line is seen while standard error is redirected."""

    received = None
    stderr = 2
    process = os.getpid()  # not that of the processes which it starts as copies of itself


STATE = _State()


def is_command():
    """Whether this process is `keras-vit` or `python -m keras_vit`."""
    name = os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))[0]
    return name == "keras-vit" or sys.orig_argv[1:3] == ["-m", "keras_vit"]


def received():
    """The signal that `working` received, None if there was none."""
    return STATE.received


def end_at_once(number, frame=None):
    """Handler: a line, and the end."""
    line = b"\nkeras-vit: interrupted\n" if number == signal.SIGINT else b"\nkeras-vit: ended\n"
    if os.getpid() == STATE.process:
        with contextlib.suppress(OSError):  # nobody sees it
            os.write(STATE.stderr, line)
    os._exit(128 + number)


def begin():
    """From now on signals end the process at once, if it is the command and none that the command started."""
    if is_command() and "multiprocessing.spawn" not in sys.modules:
        _install(end_at_once)


@contextlib.contextmanager
def starting():
    """Context, of the command only, in which signals end the process at once."""
    before = _install(end_at_once) if is_command() else {}
    try:
        yield
    finally:
        _restore(before)


@contextlib.contextmanager
def working():
    """Context, of the command only, in which signals become KeyboardInterrupt and `Ended`; the second is the end."""
    if not is_command():
        yield
        return
    _install(_raise)
    try:
        with woken(_end_if_deaf):
            yield
    finally:
        _install(end_at_once)  # what is left is Python's own end


def _install(handler):
    """{number: handler before} of the signals that are not ignored, as `nohup` ignores SIGHUP."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


def _restore(handlers):
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _raise(number, frame):
    if STATE.received is not None:
        end_at_once(number)
    STATE.received = number
    raise KeyboardInterrupt if number == signal.SIGINT else Ended(128 + number)


def _end_if_deaf(number):
    """Give the main thread GRACE seconds to handle the signal, if it is `_raise` that would."""
    if number in NUMBERS and signal.getsignal(number) is _raise:
        time.sleep(GRACE)
        if STATE.received is None:
            end_at_once(number)


@contextlib.contextmanager
def woken(function):
    """Context in which a thread calls `function` with each signal that has a handler, though the main thread is in C.

    Python runs handlers in the main thread, between two of its instructions: not while that waits in TensorFlow.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread = threading.Thread(target=_watch, args=(reader, function), name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)


def _watch(reader, function):
    with open(reader, "rb", buffering=0) as stream:
        while numbers := stream.read(1):
            function(numbers[0])
