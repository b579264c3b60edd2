"""The development server with oneDNN and without:  python -m benchmarks.serving [--models NAME ...] [--csv FILE]

TensorFlow turns oneDNN on by itself only where the processor has AVX512-VNNI or the like; docker-compose.yml and
kubernetes.yaml of a bundle set TF_ENABLE_ONEDNN_OPTS=1. Here `keras-vit serve` runs twice, with 1 and with 0, and the
two alternate on all cores: the time of one request of the Open Inference Protocol, whose images are float32 behind the
JSON, so that neither decoding nor JSON takes part. Weights are random; the images are black.
"""

import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks import report
from keras_vit.export.model.source import ExportedModel
from keras_vit.export.parity import parity
from keras_vit.export.serving.served import ServedModel
from keras_vit.models import VARIANTS

SETTINGS = {"oneDNN": "1", "without": "0"}  # side -> TF_ENABLE_ONEDNN_OPTS
CONFIG = 'model_config_list {{ config {{ name: "{name}" base_path: "/models/{name}" }} }}'


def write_bundle(name, folder):
    """Write what `keras-vit serve` needs for a published model, without the checks of an export."""
    variant = VARIANTS[name]
    labels = tuple(map(str, range(1000)))
    served = ServedModel(ExportedModel(variant(weights=None), variant.spec, labels, name), 5, ())
    tf.saved_model.save(served, str(folder / "models" / name / "1"), signatures=served.signatures)
    (folder / "models.config").write_text(CONFIG.format(name=name))


@contextlib.contextmanager
def served(folder, setting):
    """ "host:port" of a server that has TF_ENABLE_ONEDNN_OPTS so."""
    command = [sys.executable, "-m", "keras_vit", "serve", str(folder), "--port", "0"]
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": setting, "CUDA_VISIBLE_DEVICES": "-1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{' '.join(command)} ended with status {process.wait()}.")
            yield line.split()[0].removeprefix("http://").rstrip("/")
        finally:
            process.terminate()
            process.wait(30)


def requesting(address, name, batch):
    """A function that has a batch of images classified."""
    images = np.zeros((batch, *VARIANTS[name].image_size, 3), "<f4").tobytes()
    shape = [batch, *VARIANTS[name].image_size, 3]
    one = {"name": "images", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": len(images)}}
    start = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}}).encode()
    fields = {"Inference-Header-Content-Length": str(len(start))}

    def request():
        with contextlib.closing(http.client.HTTPConnection(address, timeout=600)) as connection:
            connection.request("POST", f"/v2/models/{name}/infer", start + images, fields)
            response = connection.getresponse()
            content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status} {content[:300]}")

    return request


def measure(name, batches, rounds):
    """A row per size of batch."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        write_bundle(name, Path(folder))
        addresses = {side: servers.enter_context(served(folder, setting)) for side, setting in SETTINGS.items()}
        for batch in batches:
            sides = {side: requesting(address, name, batch) for side, address in addresses.items()}
            ours, other = SETTINGS
            times = report.alternate(sides, rounds)
            yield from report.compare({"model": name, "batch": batch, "server": ours}, times, ours, [other])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["ViTS16", "SwinT"], choices=VARIANTS, metavar="NAME")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 16], metavar="B", help="at most 32")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--csv", help="where to write the rows as well")
    arguments = parser.parse_args()
    parity.on_cpu()
    print(report.machine())
    rows = [row for name in arguments.models for row in measure(name, arguments.batch_sizes, arguments.rounds)]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
