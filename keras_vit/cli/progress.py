"""How far a long piece of work is: one live line on a terminal, else a line every half a minute."""

import sys
import time

EVERY = {True: 0.2, False: 30.0}  # seconds between lines, on a terminal and elsewhere


class Progress:
    """Prints to standard error how many of `total` things are done, how many a second, and the time left.

    Args:
        total: number of things.
        what: their name, e.g. "images".
        stream: a text file; standard error if None.
        clock: the time in seconds.
    """

    def __init__(self, total, what, stream=None, clock=time.monotonic):
        self.total, self.what, self.clock = total, what, clock
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.start = self.shown = clock()
        self.first = None  # things that were done when the first were, and when: what came before was starting up

    def __call__(self, done):
        """Say that `done` things are done."""
        now = self.clock()
        if self.first is None:
            self.first = done, now
        if now - self.shown >= EVERY[self.live]:
            self.shown = now
            self._print(self._line(done, now))

    def close(self):
        """Clear the live line."""
        if self.live:
            print("\r\x1b[K", end="", file=self.stream, flush=True)

    def _line(self, done, now):
        earlier, then = self.first
        if now <= then or done <= earlier:
            return f"{done:,} of {self.total:,} {self.what}"
        rate = (done - earlier) / (now - then)
        left = duration((self.total - done) / rate)
        return f"{done:,} of {self.total:,} {self.what}, {rate:.3g} a second, {left} left"

    def _print(self, line):
        if self.live:
            print(f"\r\x1b[K{line}", end="", file=self.stream, flush=True)
        else:
            print(line, file=self.stream, flush=True)


class Batches:
    """A context of `keras_vit.prediction.to_file`'s work: shows its progress, and says what was there before.

    Args:
        verb: that does the work.
        work: a `Work`.
    """

    def __init__(self, verb, work):
        self.verb, self.work, self.progress = verb, work, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.progress:
            self.progress.close()

    def __call__(self, done, total):
        """Say that `done` of `total` images are answered."""
        if self.progress is None:
            if done:
                print(f"keras-vit {self.verb}: going on after {done:,} images of {self.work.path}", file=sys.stderr)
            self.progress = Progress(total, "images")
        self.progress(done)


def duration(seconds):
    """Seconds in a readable form: 9 s, 2 min 05 s, 3 h 07 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
