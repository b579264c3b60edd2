"""A run that is killed at random moments ends as the one that never was: weights, moments and history, to the bit."""

import os
import subprocess
import sys

import pytest

from tests.training import toy


@pytest.mark.parametrize(
    "replicas, kills",
    [(2, 1), pytest.param(1, 10, marks=pytest.mark.slow), pytest.param(2, 10, marks=pytest.mark.slow)],
)
def test_kill_9_loses_nothing(tmp_path, replicas, kills):
    command = [sys.executable, "-m", "tests.training.killed", str(tmp_path), str(replicas), str(kills)]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(temporary)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("killed after step") == kills
    toy.assert_same_run(tmp_path / "whole", tmp_path / "killed")
    assert list(temporary.iterdir()) == []
    files = [{path.name for path in (tmp_path / name).rglob("*")} for name in ("whole", "killed")]
    assert {name for name in files[1] - files[0] if not name.startswith("events.out")} == set()
