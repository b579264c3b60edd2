"""Two worker processes over loopback: the result of one, and nothing is lost when one of them is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.training import toy

pytestmark = pytest.mark.slow


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(data, folder, workers=1, **settings):
    """The processes of one run."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "tests.training.worker", str(data), str(folder), json.dumps(settings)]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(workers)]}
    processes = []
    for index in range(workers):
        place = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        own = environment | ({"TF_CONFIG": place} if workers > 1 else {})
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, env=own, **pipes))
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


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_the_others_and_all_resume_together(tmp_path, data, victim):
    settings = {"epochs": 40, "recovery_interval": 1, "deterministic": True}
    assert [code for code, _, _ in wait(start(data, tmp_path / "whole", 2, **settings))] == [0, 0]
    processes = start(data, tmp_path / "killed", 2, **settings)
    wait_for((tmp_path / "killed" / "summary.csv").exists)
    processes[victim].kill()
    results = wait(processes)
    assert results[victim][0] == -signal.SIGKILL and results[1 - victim][0] != 0
    results = wait(start(data, tmp_path / "killed", 2, **settings))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "continuing after step" in results[0][1]
    toy.assert_same_run(tmp_path / "whole", tmp_path / "killed")


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
