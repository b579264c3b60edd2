"""Workers that come late, never, or stop; addresses that cannot be listened at. TensorFlow is not asked."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from keras_vit.training.step import rendezvous
from keras_vit.training.step.cluster import Cluster

ALONE = """
import sys, time
from keras_vit.training.step import rendezvous
from keras_vit.training.step.cluster import Cluster
rendezvous.FIRST = 0.2
rendezvous.meet(Cluster(tuple(sys.argv[1:]), 0, "TF_CONFIG"), 60, lambda line: print(line, flush=True))
"""
IN_TENSORFLOW = """
import ctypes, sys
from keras_vit.training.step import rendezvous
lock = ctypes.create_string_buffer(64)
with rendezvous.patience(float(sys.argv[1])):
    print("Waiting", flush=True)
    for _ in range(2): ctypes.PyDLL(None).pthread_mutex_lock(lock)  # as in TensorFlow, no thread of Python runs
"""


@pytest.fixture
def addresses():
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    found = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    return found


def meet(addresses, index, timeout=60.0, log=print):
    return rendezvous.meet(Cluster(tuple(addresses), index, "TF_CONFIG"), timeout, log)


def port_of(address):
    return int(address.rpartition(":")[2])


class Coming(threading.Thread):
    """A worker that comes after a delay; `connections` once it has met the others, else `error`."""

    def __init__(self, addresses, index, delay=0.0):
        super().__init__(daemon=True)
        self.addresses, self.index, self.delay = addresses, index, delay
        self.connections, self.error, self.lines = None, None, []
        self.start()

    def run(self):
        time.sleep(self.delay)
        try:
            self.connections = meet(self.addresses, self.index, log=self.lines.append)
        except Exception as error:
            self.error = error

    def met(self):
        """The connections, once they are there."""
        self.join(30)
        assert self.error is None and not self.is_alive()
        return self.connections


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_all_go_on_once_all_are_there_whoever_comes_first(addresses, order):
    workers = [Coming(addresses, index, order.index(index) * 0.15) for index in range(3)]
    assert [sorted(worker.met()) for worker in workers] == [[1, 2], [0, 2], [0, 1]]
    servers = [socket.create_server(("", port_of(address))) for address in addresses]  # as TensorFlow's will
    for worker in workers:
        for index, connection in worker.connections.items():
            connection.setblocking(True)
            connection.sendall(b"%d%d" % (worker.index, index))
    for worker in workers:
        for index, connection in worker.connections.items():
            assert connection.recv(2) == b"%d%d" % (index, worker.index)
            connection.close()
    for server in servers:
        server.close()
    assert all(worker.lines == [] for worker in workers)


def test_a_worker_that_goes_while_others_are_waited_for_may_come_again(addresses):
    first = Coming(addresses, 0)
    with pytest.raises(ConnectionError, match="worker 2 at .* did not come"):
        meet(addresses, 1, 0.6, lambda line: None)  # it had met worker 0
    time.sleep(0.1)
    assert first.connections is None
    others = [Coming(addresses, index) for index in (1, 2)]
    for connections in [worker.met() for worker in (first, *others)]:
        for connection in connections.values():
            connection.close()


def test_a_program_that_is_no_worker_is_not_taken_for_one(addresses):
    first = Coming(addresses[:2], 0)
    time.sleep(0.3)
    for line in (b"GET / HTTP/1.1\r\n", b"keras-vit 1\n", b"keras-vit x y\n", b"\xff" * 500):
        with socket.create_connection(("127.0.0.1", port_of(addresses[0]))) as stranger:
            stranger.sendall(line)
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(10) == b""  # it is hung up
    second = Coming(addresses[:2], 1)
    for connections in [worker.met() for worker in (first, second)]:
        connections.popitem()[1].close()


def test_a_server_that_is_no_worker_is_waited_at(addresses):
    def serve():
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\n")
            connection.recv(100)

    with socket.create_server(("127.0.0.1", port_of(addresses[0]))) as server:
        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(ConnectionError, match="worker 0 at .* did not come"):
            meet(addresses[:2], 1, 0.5)


def test_a_worker_with_another_list_is_told_of_and_waited_past(addresses):
    stranger = Coming([addresses[0], "localhost:" + addresses[1].rpartition(":")[2]], 1)
    lines = []
    with pytest.raises(
        ConnectionError, match="worker 1 at .* did not come .* A worker 1 with another list of workers met"
    ):
        meet(addresses[:2], 0, 0.8, lines.append)
    (line,) = lines
    assert f"met worker 0 at {addresses[0]}" in line and f"of TF_CONFIG: {addresses[0]}, {addresses[1]}." in line
    assert stranger.connections is None


def test_who_is_waited_for_is_said_again_and_again_and_then_given_up(addresses, monkeypatch):
    monkeypatch.setattr(rendezvous, "FIRST", 0.2)
    monkeypatch.setattr(rendezvous, "AGAIN", 0.3)
    lines = []
    with pytest.raises(ConnectionError, match=f"worker 1 at {addresses[1]} did not come within worker_timeout=1 sec"):
        meet(addresses[:2], 0, 1, lines.append)
    assert len(lines) == 3 and all(line.startswith(f"Waiting for worker 1 at {addresses[1]}, ") for line in lines)
    with socket.create_server(("", port_of(addresses[0]))):  # nothing listens any longer
        pass


def test_it_is_said_within_half_a_minute_and_every_minute():
    assert rendezvous.FIRST <= 30 and rendezvous.AGAIN <= 60


def test_an_address_that_another_process_listens_at_is_named(addresses):
    with socket.create_server(("", port_of(addresses[0]))):
        with pytest.raises(ValueError, match=f"This worker, {addresses[0]} of TF_CONFIG, cannot listen"):
            meet(addresses, 0, 1)


def test_of_many_missing_workers_five_are_named():
    addresses = [f"host{i}.invalid:1" for i in range(9)] + ["127.0.0.1:0"]
    with pytest.raises(ConnectionError, match="worker 0 at host0.invalid:1, .*worker 4 at .* and 4 more did not come"):
        meet(addresses, 9, 0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("program", [ALONE, IN_TENSORFLOW])
def test_a_signal_ends_the_wait(addresses, program, number):
    arguments = addresses if program is ALONE else ["60"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    waiting = subprocess.Popen([sys.executable, "-c", program, *arguments], **pipes)
    assert waiting.stdout.readline().startswith("Waiting")
    time.sleep(0.3)  # until it is in the call
    os.kill(waiting.pid, number)
    waiting.communicate(timeout=20)
    assert waiting.returncode == -number


def test_a_call_of_tensorflow_that_takes_too_long_ends_the_process():
    done = subprocess.run([sys.executable, "-c", IN_TENSORFLOW, "0.5"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "Waiting\n") and "Timeout (0:00:00.5" in done.stderr


def test_nothing_happens_to_a_call_that_ends(capfd):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with rendezvous.patience(60):
        time.sleep(0.01)
    assert capfd.readouterr() == ("", "")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
