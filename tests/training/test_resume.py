"""A run that is killed at random moments ends as the one that never was: weights, moments and history, to the bit."""

import json
import os
import subprocess
import sys

import pytest

from tests.training import toy


@pytest.mark.parametrize(
    "replicas, kills, settings",
    [
        (2, 1, {}),
        *(pytest.param(replicas, 10, {}, marks=pytest.mark.slow) for replicas in (1, 2)),
        pytest.param(1, 6, {"img_size_schedule": "4@0,6x4@0.3,8@0.7"}, marks=pytest.mark.slow),
        pytest.param(1, 4, {"average_hist": 2, "early_stopping": 99}, marks=pytest.mark.slow),
        pytest.param(2, 6, {"img_size_schedule": "4@0,6x4@0.3,8@0.7", "cache_megabytes": 0}, marks=pytest.mark.slow),
        pytest.param(2, 6, {"multi_scale": "4,6x4,8"}, marks=pytest.mark.slow),
        pytest.param(2, 4, {"toy_of": "vit", "lora_rank": 2, "drop_path": 0.3}, marks=pytest.mark.slow),
        pytest.param(2, 4, {"toy_of": "swin", "grad_checkpointing": True, "drop_path": 0.3}, marks=pytest.mark.slow),
        pytest.param(1, 4, {"grad_accum_steps": "auto"}, marks=pytest.mark.slow),
        pytest.param(2, 4, toy.SEVERAL, marks=pytest.mark.slow),
        pytest.param(1, 4, {"loss": "focal", "class_weights": "balanced", "sampler": "sqrt"}, marks=pytest.mark.slow),
    ],
)
def test_kill_9_loses_nothing(tmp_path, replicas, kills, settings):
    command = [sys.executable, "-m", "tests.training.killed", str(tmp_path), str(replicas), str(kills)]
    command.append(json.dumps(settings))
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
