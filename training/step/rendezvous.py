"""Where the workers of a run find each other, before TensorFlow waits for them: silently, for good, deaf to signals.

Each worker listens at its address until all have met, and then gives the port to TensorFlow's server. Of two workers
the later one in the list connects, and both say who they are and which workers they know of, in one line. The
connections stay, for `heartbeat`.
"""

import contextlib
import faulthandler
import os
import signal
import socket
import threading
import time
import zlib

FIRST, AGAIN = 15, 60  # seconds until it is said who is waited for, and until it is said again
PAUSE = 0.25  # seconds between two attempts to reach a worker
ANSWER = 5  # seconds that a worker has for its line
LONGEST = 100  # bytes of a line


def meet(cluster, timeout, log):
    """Wait until this worker is connected with every other one.

    Args:
        cluster: the `cluster.Cluster`.
        timeout: seconds.
        log: called with lines that say who is waited for.
    Returns:
        {index of another worker: the connection, a socket}.
    Raises:
        ValueError: if this worker cannot listen at its address.
        ConnectionError: naming the workers that did not come in time, and one that came with another list of workers.
    """
    meeting = _Meeting(cluster)
    begun, told = time.monotonic(), None
    said = begun
    with meeting:
        while missing := meeting.missing():
            now = time.monotonic()
            if now - begun >= timeout:
                raise ConnectionError(f"{_given_up(cluster, missing, timeout)} {meeting.stranger or ''}".rstrip())
            if meeting.stranger != told:
                log(told := meeting.stranger)
            if now - said >= (FIRST if said == begun else AGAIN):
                said = now
                log(_waiting(cluster, missing, timeout - (now - begun)))
            time.sleep(0.05)
    return meeting.connections


@contextlib.contextmanager
def patience(timeout):
    """Context around TensorFlow's own wait, in which no line of Python runs: signals end the process, and `timeout`.

    After as many seconds faulthandler, whose clock does not need Python, writes where it waits and ends it, status 1.
    """
    alone = threading.current_thread() is threading.main_thread()
    before = {n: signal.signal(n, signal.SIG_DFL) for n in (signal.SIGINT, signal.SIGTERM) if alone}
    with open(os.dup(2), "w") as stream:  # standard error may be replaced by an object without a file
        faulthandler.dump_traceback_later(timeout, exit=True, file=stream)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            for number, handler in before.items():
                signal.signal(number, handler)


class _Meeting:
    """Context in which this worker listens, and seeks those before it in the list.

    Attributes:
        connections: {index of another worker: socket}.
        stranger: what to say of a worker that came with another list of workers, None before.
    """

    def __init__(self, cluster):
        self.cluster, self.connections, self.stranger = cluster, {}, None
        self.over, self.lock = threading.Event(), threading.Lock()
        self.listening = _listen(cluster)
        self.threads = [threading.Thread(target=self._answer, daemon=True)]
        self.threads += [threading.Thread(target=self._seek, args=(i,), daemon=True) for i in range(cluster.index)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.threads[0].join()  # the port is free for TensorFlow's server
        with self.lock:
            if error[0] is not None:
                for connection in self.connections.values():
                    connection.close()

    def missing(self):
        """Indices of the workers without a connection; one that was ended is taken away."""
        with self.lock:
            for i in [i for i, connection in self.connections.items() if _ended(connection)]:
                self.connections.pop(i).close()
            known = set(self.connections) | {self.cluster.index}
        return [i for i in range(len(self.cluster.addresses)) if i not in known]

    def _answer(self):
        self.listening.settimeout(PAUSE)  # a socket that a thread waits at is not closed
        with self.listening:
            while not self.over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = self.listening.accept()
                    threading.Thread(target=self._greet, args=(connection,), daemon=True).start()

    def _greet(self, connection):
        """Answer a worker, and keep the connection."""
        with contextlib.suppress(OSError):
            connection.settimeout(ANSWER)
            index = self._index_in(_line(connection))
            if index is not None and self.cluster.index < index < len(self.cluster.addresses):
                connection.sendall(_hello(self.cluster))
                self._keep(index, connection)
                return
        connection.close()

    def _seek(self, index):
        """Connect with a worker as soon as it answers, and again where the connection was ended."""
        while not self.over.is_set():
            if index not in self.connections:
                with contextlib.suppress(OSError):
                    connection = socket.create_connection(_split(self.cluster.addresses[index]), timeout=ANSWER)
                    if self._answers(connection, index):
                        self._keep(index, connection)
                    else:
                        connection.close()
            self.over.wait(PAUSE)

    def _answers(self, connection, index):
        with contextlib.suppress(OSError):
            connection.sendall(_hello(self.cluster))
            return self._index_in(_line(connection)) == index
        return False

    def _index_in(self, line):
        """The index of the worker that sent a line; None for a line of something else."""
        words = line.split()
        if len(words) != 3 or words[0] != b"keras-vit" or not words[1].isdigit():
            return None
        if words[2] != _fingerprint(self.cluster):
            name = self.cluster.name(self.cluster.index)
            self.stranger = (
                f"A worker {words[1].decode()[:9]} with another list of workers met {name}. Give all workers "
                f"of a run the same list, and two runs on one host different ports. This one has, of "
                f"{self.cluster.source}: {', '.join(self.cluster.addresses)}."
            )
            return None
        return int(words[1])

    def _keep(self, index, connection):
        """Keep a connection, unless there is one already: what is answered late may be of a worker that has gone."""
        with self.lock:
            before = self.connections.get(index)
            if self.over.is_set() or (before is not None and not _ended(before)):
                connection.close()
                return
            if before is not None:  # of a worker that was started again
                before.close()
            self.connections[index] = connection


def _hello(cluster):
    return b"keras-vit %d %s\n" % (cluster.index, _fingerprint(cluster))


def _fingerprint(cluster):
    return b"%08x" % zlib.crc32(",".join(cluster.addresses).encode())


def _line(connection):
    """What is sent up to the end of a line."""
    text = b""
    while not text.endswith(b"\n") and len(text) < LONGEST and (byte := connection.recv(1)):
        text += byte
    return text


def _ended(connection):
    """Whether the other side closed a connection on which nothing is sent."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _listen(cluster):
    """A socket on the port of this worker, on all interfaces, as TensorFlow's server will be."""
    address = cluster.addresses[cluster.index]
    _, port = _split(address)
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both, backlog=128
        )
    except OSError as error:
        raise ValueError(
            f"This worker, {address} of {cluster.source}, cannot listen on its port {port}: "
            f"{error.strerror or error}. End the process that does, or give another port to all workers."
        ) from error


def _split(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _waiting(cluster, missing, left):
    return f"Waiting for {_named(cluster, missing)}, of {cluster.source}; giving up in {left:.0f} s (worker_timeout)."


def _given_up(cluster, missing, timeout):
    return (
        f"{_named(cluster, missing)} did not come within worker_timeout={timeout:g} seconds. Start all workers that "
        f"{cluster.source} lists, with addresses that all of them can reach, or give a longer --worker-timeout."
    )


def _named(cluster, missing):
    workers = [cluster.name(i) for i in missing]
    return ", ".join(workers[:5]) + (f" and {len(workers) - 5} more" if len(workers) > 5 else "")
