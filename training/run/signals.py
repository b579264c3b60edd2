"""SIGTERM, which schedulers send before they end a job, SIGHUP, when a terminal closes, and Ctrl-C: the run saves.

It stops after the current step.
"""

import signal
import threading

NUMBERS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]


class Stopped(Exception):
    """The run was stopped by a signal, and its state is saved.

    Attributes:
        number: the signal, e.g. signal.SIGTERM; None if another worker received it.
    """

    def __init__(self, step, number):
        self.number = number
        super().__init__(f"Stopped and saved after step {step}; the same command continues from there.")


class StopRequest:
    """Context in which the signals are recorded only; a second SIGINT interrupts immediately.

    A signal that is ignored, as SIGHUP is by `nohup`, stays so.

    Attributes:
        number: the signal that was received, None before.
    """

    def __init__(self):
        self.number, self.before = None, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # Python allows handlers only there
            heard = [number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
            self.before = {number: signal.signal(number, self._receive) for number in heard}
        return self

    def __exit__(self, *error):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _receive(self, number, frame):
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
