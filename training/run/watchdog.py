"""A thread that notices when a run stalls, and writes the stacks of all threads to a file."""

import datetime
import faulthandler
import threading
import time
from pathlib import Path


class Watchdog:
    """Writes the stacks of all threads once per stall: when `beat` was not called for some minutes. Nothing is stopped.

    Args:
        path: the file, appended to.
        minutes: length of a stall; 0 for no watchdog.
        log: called with a line that reports the stall.
    """

    def __init__(self, path, minutes, log):
        self.path, self.seconds, self.log = Path(path), 60 * minutes, log
        self.place, self.last_beat, self.reported = "before the first step", time.monotonic(), False
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, place):
        """Report progress; `place` describes what is done next."""
        self.place, self.last_beat, self.reported = place, time.monotonic(), False

    def __enter__(self):
        self.beat(self.place)
        if self.seconds:
            self.thread.start()
        return self

    def __exit__(self, *error):
        self.ended.set()
        if self.seconds:
            self.thread.join()

    def _watch(self):
        while not self.ended.wait(min(self.seconds / 4, 60)):
            if not self.reported and time.monotonic() - self.last_beat > self.seconds:
                self.reported = True
                self._report()

    def _report(self):
        now = datetime.datetime.now().isoformat(" ", "seconds")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{now}: nothing moved for {self.seconds / 60:g} minutes, at {self.place}\n")
            file.flush()
            faulthandler.dump_traceback(file)
        self.log(
            f"Nothing moved for {self.seconds / 60:g} minutes, at {self.place}. "
            f"The stacks of all threads are in {self.path}; waiting on."
        )
