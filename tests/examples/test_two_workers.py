import json
import subprocess
import sys

import pytest

from examples import two_workers


def test_each_worker_gets_all_addresses_and_its_index():
    addresses = two_workers.free_addresses(2)
    configs = [json.loads(two_workers.environment(addresses, index)["TF_CONFIG"]) for index in range(2)]
    assert len(set(addresses)) == 2 and all(config["cluster"] == {"worker": addresses} for config in configs)
    assert [config["task"]["index"] for config in configs] == [0, 1]


@pytest.mark.slow
def test_two_workers_train_one_model(tmp_path):
    command = [sys.executable, "-m", "examples.two_workers", "--output", str(tmp_path / "run"), "--epochs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "2 workers x 1 x CPU" in done.stdout and "Test accuracy" in done.stdout
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finished"]
