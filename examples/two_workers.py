"""Train on two workers of this machine, as two machines would.

    python -m examples.two_workers --output runs/two_workers --epochs 3

Starts `keras-vit train` twice with what tells a worker apart, the variable TF_CONFIG: the addresses of all workers, the
same for each, and its own number. On several machines the addresses are theirs, and each is started there by hand, by
Slurm or by Kubernetes (docs/training.md). The workers find each other, halve every batch and sum their gradients;
worker 0 writes the run folder and prints what training prints (`devices  2 workers x 1 x CPU` among it), the other is
silent. The same command continues a run.
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
    """The variables of one worker."""
    place = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return os.environ | {"TF_CONFIG": json.dumps(place), "CUDA_VISIBLE_DEVICES": ""}


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
