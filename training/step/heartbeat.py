"""Signs of life between the workers of a run, over the connections that they met on.

TensorFlow notices a worker that is lost, from its own heartbeat within ten seconds, and ends the collective operations
of the others; which worker it was, and why, it does not say. And a worker that is between two collective operations,
in the middle of an evaluation say, does not learn of it. So every worker sends a line per second on each connection:

    .                  it is there
    begin, bye         a run begins; it ended, as all agreed
    error TEXT         a run ended by an error

A process that is killed has its connections closed by the system; one that is stopped, or whose machine is gone, sends
nothing.
"""

import contextlib
import math
import selectors
import threading
import time

EVERY = 1.0  # seconds between two signs
HALTED = 5.0  # seconds without a turn of this thread, after which it is this process that did not run
REMEDY = "Start all workers again, and the run continues from its last checkpoint."
LONGEST = 300  # characters of an error


class Heartbeat:
    """A thread that sends signs of life and receives those of the other workers.

    Args:
        cluster: the `cluster.Cluster`.
        connections: {index of another worker: socket}, from `rendezvous.meet`.
        silence: seconds without a sign after which a worker counts as lost.
    """

    def __init__(self, cluster, connections, silence):
        now = time.monotonic()
        self.cluster, self.silence = cluster, silence
        self.others = {index: _Other(connection, now) for index, connection in connections.items()}
        self.lock, self.turn = threading.Lock(), now
        self.thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.thread.start()

    @contextlib.contextmanager
    def run(self, agreed=()):
        """Context of a run; the other workers are told how it ends.

        Args:
            agreed: exceptions by which the run ends on all workers alike.
        """
        self._send(b"begin\n")
        try:
            yield
        except BaseException as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
            self._send(b"bye\n" if isinstance(error, agreed) else f"error {text}\n".encode())
            raise
        self._send(b"bye\n")

    def check(self):
        """Raise a ConnectionError that names a worker that is lost, if one is."""
        if lost := self.lost():
            raise ConnectionError(f"{lost} {REMEDY}")

    def lost(self, silence=None):
        """A sentence about the first worker that is lost, None if all are there.

        Args:
            silence: seconds, if not those of this object.
        """
        now, silence = time.monotonic(), self.silence if silence is None else silence
        if now - self.turn > HALTED:  # this process was stopped; what the others sent meanwhile is still to be read
            return None
        for index, other in sorted(self.others.items()):
            if other.running and (how := other.lost(now, silence)):
                return f"W{self.cluster.name(index)[1:]} {how}."
        return None

    def wait_for_loss(self, seconds, silence):
        """`lost`, after at most as many seconds in which a loss may still become known."""
        end = time.monotonic() + seconds
        while not (lost := self.lost(silence)) and time.monotonic() < end:
            time.sleep(0.05)
        return lost

    def _run(self):
        sent = 0.0
        with selectors.DefaultSelector() as selector:
            for other in self.others.values():
                selector.register(other.connection, selectors.EVENT_READ, other)
            while selector.get_map():
                now = time.monotonic()
                if now - self.turn > HALTED:
                    for other in self.others.values():
                        other.heard = now
                self.turn = now
                if now - sent >= EVERY:
                    sent = now
                    self._send(b".\n")
                for key, _ in selector.select(EVERY / 4):
                    if not key.data.receive():
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
        self.turn = math.inf  # there is nobody left to be heard

    def _send(self, line):
        with self.lock:
            for other in self.others.values():
                other.send(line)


class _Other:
    """Another worker, as far as its connection tells.

    Attributes:
        heard: when the last sign came, on the clock of time.monotonic.
        open: whether the connection is.
        running: whether it is in a run, and so missed when it is lost.
        error: how it said that the run ended, None before.
    """

    def __init__(self, connection, now):
        self.connection, self.heard, self.received, self.unsent = connection, now, b"", b""
        self.open, self.running, self.error = True, True, None
        connection.setblocking(False)

    def lost(self, now, silence):
        """How this worker was lost, None if it is there."""
        if self.error:
            return f"ended with an error ({self.error})"
        if not self.open:
            return "is gone: its process ended, or the connection to it broke"
        if now - self.heard > silence:
            return f"has given no sign of life for {now - self.heard:.0f} seconds"
        return None

    def send(self, line):
        """Send a line, or keep what the connection does not take now; to one that takes nothing, no more signs."""
        if self.open and not (self.unsent and line == b".\n"):
            self.unsent += line
            with contextlib.suppress(OSError):  # receiving will say that a connection is broken
                self.unsent = self.unsent[self.connection.send(self.unsent) :]

    def receive(self):
        """Take what has come; whether the connection is still open."""
        try:
            data = self.connection.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self.open = False
            return False
        self.heard = time.monotonic()
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            if line == b"begin":
                self.running, self.error = True, None
            elif line == b"bye":
                self.running = False
            elif line.startswith(b"error "):
                self.error = line[6:].decode(errors="replace")
        return True
