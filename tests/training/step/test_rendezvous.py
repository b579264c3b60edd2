"""Workers that come late, never, or stop; addresses that cannot be listened at. TensorFlow is not asked."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from keras_vit.training.step import rendezvous

ALONE = """
import sys, time
from keras_vit.training.step import rendezvous
rendezvous.FIRST = 0.2
rendezvous.meet(sys.argv[1:], 0, 60, lambda line: print(line, flush=True))
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
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in (one, other)]


def test_all_go_on_once_all_are_there_whoever_comes_first(addresses):
    ended, servers, lines = [], [], []

    def come(index, delay):
        time.sleep(delay)
        rendezvous.meet(addresses, index, 60, lines.append)
        ended.append(index)
        servers.append(socket.create_server(("", int(addresses[index].rpartition(":")[2]))))  # TensorFlow's

    threads = [threading.Thread(target=come, args=(index, index * 0.5)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for server in servers:
        server.close()
    assert sorted(ended) == [0, 1] and len(servers) == 2 and lines == []


def test_who_is_waited_for_is_said_again_and_again_and_then_given_up(addresses, monkeypatch):
    monkeypatch.setattr(rendezvous, "FIRST", 0.2)
    monkeypatch.setattr(rendezvous, "AGAIN", 0.3)
    lines = []
    with pytest.raises(ConnectionError, match=f"worker 1 at {addresses[1]} did not come within worker_timeout=1 sec"):
        rendezvous.meet(addresses, 0, 1, lines.append)
    assert len(lines) == 3 and all(line.startswith(f"Waiting for worker 1 at {addresses[1]}, ") for line in lines)
    with socket.create_server(("", int(addresses[0].rpartition(":")[2]))):  # nothing listens any longer
        pass


def test_it_is_said_within_half_a_minute_and_every_minute():
    assert rendezvous.FIRST <= 30 and rendezvous.AGAIN <= 60


def test_an_address_that_another_process_listens_at_is_named(addresses):
    with socket.create_server(("", int(addresses[0].rpartition(":")[2]))):
        with pytest.raises(ValueError, match=f"This worker, {addresses[0]} in TF_CONFIG, cannot listen"):
            rendezvous.meet(addresses, 0, 1, print)


def test_of_many_missing_workers_five_are_named():
    addresses = [f"host{i}.invalid:1" for i in range(9)] + ["127.0.0.1:0"]
    with pytest.raises(ConnectionError, match="worker 0 at host0.invalid:1, .*worker 4 at .* and 4 more did not come"):
        rendezvous.meet(addresses, 9, 0.1, print)


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
