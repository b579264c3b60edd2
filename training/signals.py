"""SIGTERM, with which schedulers announce an end, and Ctrl-C: a run saves and stops at the next step."""

import signal
import threading


class Stopped(Exception):
    """The run was asked to stop, and its state is saved.

    Attributes:
        number: the signal, e.g. signal.SIGTERM; None where another worker was asked.
    """

    def __init__(self, step, number):
        self.number = number
        super().__init__(f"Stopped and saved after step {step}; the same command continues from there.")


class StopRequest:
    """While it is entered, SIGTERM and the first SIGINT are only remembered; a second SIGINT interrupts at once.

    Attributes:
        number: the signal that came, None before.
    """

    def __init__(self):
        self.number, self.before = None, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self.before = {number: signal.signal(number, self._receive) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *error):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _receive(self, number, frame):
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
