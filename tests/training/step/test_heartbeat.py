"""Two heartbeats over a pair of sockets, and one whose other end is a process that is killed or stopped."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from keras_vit.training.step import heartbeat
from keras_vit.training.step.cluster import Cluster
from keras_vit.training.step.heartbeat import Heartbeat

ADDRESSES = ("a:1", "b:2")
OTHER = """
import socket, sys, time
from keras_vit.training.step import heartbeat
from keras_vit.training.step.cluster import Cluster
heartbeat.EVERY = 0.05
connection = socket.socket(fileno=int(sys.argv[1]))
with heartbeat.Heartbeat(Cluster(("a:1", "b:2"), 1, "TF_CONFIG"), {0: connection}, 60).run():
    print("Running", flush=True)
    time.sleep(60)
"""


class Agreed(Exception):
    pass


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(heartbeat, "EVERY", 0.02)


@pytest.fixture
def pair(quick):
    """The heartbeats of workers 0 and 1."""
    ends = socket.socketpair()
    yield [Heartbeat(Cluster(ADDRESSES, i, "TF_CONFIG"), {1 - i: ends[i]}, 0.3) for i in range(2)]
    for end in ends:
        end.close()


def found(watching, seconds=5):
    end = time.monotonic() + seconds
    while (lost := watching.lost()) is None and time.monotonic() < end:
        time.sleep(0.01)
    return lost


def test_workers_that_give_signs_are_there(pair):
    with pair[0].run(), pair[1].run():
        time.sleep(0.6)  # twice the silence
        assert pair[0].lost() is None and pair[1].lost() is None
        pair[0].check()


def test_an_error_of_another_worker_is_told(pair):
    with pair[1].run():
        with pytest.raises(OSError), pair[0].run():
            raise OSError("the disk\nis full")
        assert found(pair[1]) == "Worker 0 at a:1 ended with an error (OSError: the disk is full)."
        with pytest.raises(
            ConnectionError, match="Worker 0 at a:1 ended .*Start all workers again, and the run contin"
        ):
            pair[1].check()


@pytest.mark.parametrize("agreed", [True, False])
def test_a_worker_whose_run_ended_is_not_missed(pair, agreed):
    if agreed:
        with pytest.raises(Agreed), pair[0].run((Agreed,)):
            raise Agreed()
    else:
        with pair[0].run():
            pass
    time.sleep(0.1)
    with pair[1].run():
        pair[0].others[1].connection.close()
        time.sleep(0.4)
        assert pair[1].lost() is None


def test_a_worker_is_missed_again_in_the_next_run(pair):
    for _ in range(2):
        with pair[0].run():
            pass
    with pytest.raises(OSError), pair[0].run():
        raise OSError("no")
    assert "OSError: no" in found(pair[1])


@pytest.mark.parametrize(
    "number, how", [(signal.SIGKILL, "is gone: its process ended"), (signal.SIGSTOP, "has given no sign of life for ")]
)
def test_a_process_that_is_killed_or_stopped_is_named(quick, number, how):
    one, other = socket.socketpair()
    command = [sys.executable, "-c", OTHER, str(other.fileno())]
    process = subprocess.Popen(command, pass_fds=[other.fileno()], stdout=subprocess.PIPE, text=True)
    other.close()
    assert process.stdout.readline() == "Running\n"
    watching = Heartbeat(Cluster(ADDRESSES, 0, "TF_CONFIG"), {1: one}, 0.5)
    try:
        time.sleep(0.1)
        assert watching.lost() is None
        os.kill(process.pid, number)
        assert watching.wait_for_loss(5, 0.5).startswith(f"Worker 1 at b:2 {how}")
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_a_process_that_was_stopped_itself_does_not_blame_the_others(quick, monkeypatch):
    """The clock jumps, as it does for a process that is continued; the other's signs are in the socket."""
    one, other = socket.socketpair()
    watching = Heartbeat(Cluster(ADDRESSES, 0, "TF_CONFIG"), {1: one}, 1.0)
    real, late = time.monotonic, []
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: real() + 3600 * bool(late))
    late.append(True)
    assert watching.lost() is None
    time.sleep(0.1)
    assert watching.lost() is None
    other.close()
    assert "is gone" in found(watching)
    one.close()


def test_a_loss_is_waited_for_only_so_long(pair):
    with pair[0].run(), pair[1].run():
        begun = time.monotonic()
        assert pair[0].wait_for_loss(0.2, 0.3) is None and time.monotonic() - begun < 2


def test_a_stopped_worker_is_found_in_less_than_a_minute_by_default():
    from keras_vit.training.settings import ClusterSettings

    assert ClusterSettings().worker_silence + heartbeat.HALTED + heartbeat.EVERY <= 55
