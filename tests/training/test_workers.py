"""Two worker processes over loopback: the result of one, and nothing is lost when one of them is killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from tests.training import toy

pytestmark = pytest.mark.slow


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(data, folder, workers=1, victim=None, when=None, **settings):
    """The processes of one run; the worker `victim` sends itself a signal when tests.training.worker says."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "tests.training.worker", str(data), str(folder), json.dumps(settings)]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(workers)]}
    processes = []
    for index in range(workers):
        place = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        own = environment | ({"TF_CONFIG": place} if workers > 1 else {})
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        last = [json.dumps(when)] if index == victim else []
        processes.append(subprocess.Popen(command + last, env=own, **pipes))
    return processes


def wait(processes):
    """[(exit code, standard output, standard error)]"""
    texts = [process.communicate(timeout=300) for process in processes]
    return [(process.returncode, *text) for process, text in zip(processes, texts)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy.write_folder(tmp_path_factory.mktemp("data") / "data")


def assert_close(one, other):
    (first, rows), (second, others) = toy.last(one), toy.last(other)
    for a, b in zip(rows, others):
        assert a == pytest.approx(b, rel=1e-4)
    for name in first:
        np.testing.assert_allclose(first[name], second[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "micro_batches, changes",
    [
        (1, {}),
        (2, {}),
        (1, {"img_size_schedule": "4@0,6@0.5,8@0.7"}),
        (2, {"multi_scale": "4,6x4,8"}),
        (1, toy.SEVERAL),
        (2, {"loss": "focal", "class_weights": "balanced", "sampler": "sqrt"}),
        (1, {"early_stopping": 1, "lr": 1e-30, "min_lr": 0.0, "weight_decay": 0.0}),
    ],
)
def test_two_workers_train_as_one(tmp_path, data, micro_batches, changes):
    settings = {"drop": 0.0, "mixup": 0.8, "epochs": 3, "grad_accum_steps": micro_batches, "model_ema_decay": 0.9}
    settings |= changes
    if settings.get("dataset") == "csv":
        data = toy.write_manifest(tmp_path / "data")
    ((code, _, errors),) = wait(start(data, tmp_path / "one", **settings))
    assert code == 0, errors
    (code, shown, errors), (other_code, nothing, other_errors) = wait(start(data, tmp_path / "two", 2, **settings))
    assert (code, other_code) == (0, 0), errors + other_errors
    assert "2 workers x 1 x CPU" in shown and "\nTest " in shown and nothing == ""
    assert ("ended after epoch 2" in shown) == ("early_stopping" in changes)
    assert_close(tmp_path / "one", tmp_path / "two")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in (tmp_path / "two").iterdir()}


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


SETTINGS = {"epochs": 3, "deterministic": True, "batch_size": 6, "recovery_interval": 2}
LIMIT = 60  # seconds in which a worker learns that another one is lost


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """The run of two workers of which none is lost."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert [code for code, _, _ in wait(start(data, folder, 2, **SETTINGS))] == [0, 0]
    return folder


@pytest.mark.parametrize(
    "victim, moment, number",
    [
        *((victim, moment, signal.SIGKILL) for moment in ("step", "evaluation") for victim in (0, 1)),
        (0, "checkpoint", signal.SIGKILL),  # which worker 0 alone writes
        *((victim, "step", signal.SIGSTOP) for victim in (0, 1)),
        (0, "checkpoint", signal.SIGSTOP),
    ],
)
def test_a_lost_worker_is_named_by_the_other_and_both_resume(tmp_path, data, whole, victim, moment, number):
    processes = start(data, tmp_path / "run", 2, victim, (moment, number), **SETTINGS)
    lost, other = processes[victim], processes[1 - victim]
    try:
        if number == signal.SIGKILL:
            assert lost.wait(300) == -signal.SIGKILL
        else:
            wait_for(lambda: psutil.Process(lost.pid).status() == psutil.STATUS_STOPPED, 300)
        begun = time.monotonic()
        _, errors = other.communicate(timeout=300)
        took = time.monotonic() - begun
    finally:
        lost.kill()
    lost.communicate(timeout=60)
    assert other.returncode == 1 and took < LIMIT, errors
    how = "is gone" if number == signal.SIGKILL else "has given no sign of life for"
    last = errors.strip().splitlines()[-1]
    assert re.match(rf"Worker {victim} at 127.0.0.1:[0-9]+ {how}.*Start all workers again", last), errors
    results = wait(start(data, tmp_path / "run", 2, **SETTINGS))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "continuing after step" in results[0][1]
    toy.assert_same_run(whole, tmp_path / "run")
    for one, same in ((whole, tmp_path / "run"), (whole / "checkpoints", tmp_path / "run" / "checkpoints")):
        assert {path.name for path in one.iterdir()} == {path.name for path in same.iterdir()}


def test_a_signal_to_one_worker_stops_both(tmp_path, data):
    processes = start(data, tmp_path / "run", 2, epochs=100_000)
    wait_for((tmp_path / "run" / "summary.csv").exists)
    processes[1].terminate()
    for code, _, errors in wait(processes):
        assert code == 0 and "the same command continues from there" in errors, errors


def test_a_worker_that_never_comes_is_named_and_given_up(tmp_path, data):
    processes = start(data, tmp_path / "run", 2, worker_timeout=3.0)
    processes[1].kill()
    (code, _, errors), _ = wait(processes)
    assert code == 1 and "worker 1 at 127.0.0.1:" in errors and "did not come within worker_timeout=3 s" in errors
    assert not (tmp_path / "run").exists()


def test_a_worker_that_waits_for_another_ends_by_a_signal(tmp_path, data):
    processes = start(data, tmp_path / "run", 2)
    processes[1].kill()
    line = processes[0].stdout.readline()
    assert line.startswith("Waiting for worker 1 at 127.0.0.1:") and "giving up in" in line
    processes[0].terminate()
    assert wait(processes)[0][0] == -signal.SIGTERM
