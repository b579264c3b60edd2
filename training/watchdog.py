"""A thread that notices when nothing moves, and writes down where every thread stands."""

import datetime
import faulthandler
import threading
import time
from pathlib import Path


class Watchdog:
    """Writes the stacks of all threads to a file each time that nothing was heard for so long; then waits on.

    Args:
        path: the file, added to.
        minutes: 0 for no watch.
        say: called with one line for people.
    """

    def __init__(self, path, minutes, say):
        self.path, self.seconds, self.say = Path(path), 60 * minutes, say
        self.place, self.heard, self.reported = "before the first step", time.monotonic(), False
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, place):
        """Something moved; `place` says in words what is done next."""
        self.place, self.heard, self.reported = place, time.monotonic(), False

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
            if not self.reported and time.monotonic() - self.heard > self.seconds:
                self.reported = True
                self._report()

    def _report(self):
        now = datetime.datetime.now().isoformat(" ", "seconds")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{now}: nothing moved for {self.seconds / 60:g} minutes, at {self.place}\n")
            file.flush()
            faulthandler.dump_traceback(file)
        self.say(
            f"Nothing moved for {self.seconds / 60:g} minutes, at {self.place}. "
            f"The stacks of all threads are in {self.path}; waiting on."
        )
