"""SIGTERM, which schedulers send before they end a job, and Ctrl-C: the run saves and stops after the current step."""

import signal
import threading


class Stopped(Exception):
    """The run was stopped by a signal, and its state is saved.

    Attributes:
        number: the signal, e.g. signal.SIGTERM; None if another worker received it.
    """

    def __init__(self, step, number):
        self.number = number
        super().__init__(f"Stopped and saved after step {step}; the same command continues from there.")


class StopRequest:
    """Context in which SIGTERM and the first SIGINT are recorded only; a second SIGINT interrupts immediately.

    Attributes:
        number: the signal that was received, None before.
    """

    def __init__(self):
        self.number, self.before = None, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # Python allows handlers only there
            self.before = {number: signal.signal(number, self._receive) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *error):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _receive(self, number, frame):
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
