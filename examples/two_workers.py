"""Train with two workers on this machine, as on two machines.

    python -m examples.two_workers --output runs/two_workers --epochs 3

Starts `keras-vit train` twice, each with its environment variable TF_CONFIG: the addresses of all workers, the same for
both, and the worker's index. On several machines the addresses are theirs, and each worker is started there by hand, by
Slurm or by Kubernetes (docs/training.md). The workers connect to each other, halve every batch and sum their gradients;
worker 0 writes the run folder and prints what training prints (with `devices  2 workers x 1 x CPU`), worker 1 prints
nothing. The same command continues a run.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

WORKERS = 2


def free_addresses(count):
    """Addresses on this machine that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = ["127.0.0.1:%d" % one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def environment(addresses, index):
    """The environment of one worker."""
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return os.environ | {"TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": ""}


def train(output, epochs):
    """Run both workers to the end; the highest of their exit codes."""
    recipe = ["--recipe", "quickstart", "--epochs", str(epochs), "--warmup-epochs", "1"]
    command = [sys.executable, "-m", "keras_vit", "train", *recipe, "--output", str(output)]
    addresses = free_addresses(WORKERS)
    workers = [subprocess.Popen(command, env=environment(addresses, index)) for index in range(WORKERS)]
    return max(abs(worker.wait()) for worker in workers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the run folder")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    sys.exit(train(options.output, options.epochs))


if __name__ == "__main__":
    main()
