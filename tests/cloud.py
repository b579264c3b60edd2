"""Everything wholly in a bucket of a local object store, through the command, against the same on the disk.

    python -m tests.cloud build/cloud

Starts moto's server, which speaks S3, copies a data set into a bucket and compares, to the bit: predictions,
embeddings, parts and merges, validation, checks, shards; a run that is killed and goes on; its exports. Then what
fails.
"""

import argparse
import filecmp
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
PARTS = ("prepare", "shards", "training", "models", "answers", "failures")
TRAIN = ("--recipe", "quickstart", "--dataset", "folder", "--epochs", "3", "--recovery-interval", "2", "--no-xla")


class Server:
    """moto's server, in a process of its own."""

    def __init__(self, log):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        os.environ |= ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}
        self.wait()

    def wait(self):
        """Until it answers."""
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)
        raise TimeoutError("moto's server did not start")


def main():
    """Run all; raises at the first difference."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS, help="some, for a quicker look")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["KERAS_VIT_HOME"] = str(folder / "home")
    os.chdir(folder)
    with open(folder / "moto.log", "w") as log:
        server = Server(log)
        try:
            for name in arguments.only:
                part, start = globals()[name], time.monotonic()
                part(folder)
                print(f"== {part.__name__}: {part.__doc__} ({time.monotonic() - start:.0f} s)", flush=True)
        finally:
            server.process.terminate()
            server.process.wait()


def prepare(folder):
    """a data set of 120 images on the disk and in the bucket"""
    import fsspec
    from PIL import Image

    generator = np.random.default_rng(0)
    for number in range(120):
        path = folder / f"data/photos/{('red', 'green', 'blue')[number % 3]}/{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 120, (20, 24, 3), np.uint8)
        pixels[..., number % 3] += 100
        Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:50])  # one that is truncated
    rows = [f"photos/{image.parent.name}/{image.name},{image.parent.name}" for image in images(folder)]
    (folder / "data/list.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    store = fsspec.filesystem("s3")
    store.mkdir("bucket")
    store.put(str(folder / "data"), "bucket/data", recursive=True)


def images(folder):
    """The images of the data set."""
    return sorted((folder / "data/photos").rglob("*.png"))


def run(*arguments, status=0, environment=None):
    """The output of a command, which must end with the status."""
    command = [sys.executable, "-m", "keras_vit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}))
    if done.returncode != status:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def fetched(url, path):
    """A copy of an object."""
    from keras_vit.system import remote

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    remote.download(url, path)
    return path


def same(first, second):
    """Two files have the same bytes."""
    assert filecmp.cmp(first, second, shallow=False), (first, second)


def shards(folder):
    """check-data and prepare-data give the same from the bucket, and into it"""
    for source in ("photos", "list.csv"):
        found = [run("check-data", f"{place}/data/{source}", status=1) for place in (folder, "s3://bucket")]
        assert found[0] == found[1], found
    run("prepare-data", "data/photos", "--output", "shards", "--shards", "3")
    run("prepare-data", "s3://bucket/data/photos", "--output", "s3://bucket/shards", "--shards", "3")
    for path in (folder / "shards").iterdir():
        same(path, fetched(f"s3://bucket/shards/{path.name}", folder / "fetched" / path.name))
    assert "has files already" in run(
        "prepare-data", "data/photos", "--output", "s3://bucket/shards", "--shards", "3", status=1
    )
    assert run("check-data", "shards") == run("check-data", "s3://bucket/shards")


def training(folder):
    """a run wholly in the bucket, killed three times, has the weights of one on the disk; so have records"""
    local = ["--data-dir", "data/photos", "--output", "runs/local"]
    run("train", *TRAIN, *local)
    stored = ["train", *TRAIN, "--data-dir", "s3://bucket/data/photos", "--output", "s3://bucket/runs/stored"]
    for kills in range(3):
        kill_after_checkpoint(folder, kills, stored)
    assert "continuing after step" in run(*stored)
    assert "is finished" in run(*stored)
    records = ("--dataset", "records", "--data-dir", "s3://bucket/shards", "--output", "runs/records")
    run("train", *TRAIN, *records)
    from keras_vit.sources.stored_models import local_copy

    equal_weights("runs/local", local_copy("s3://bucket/runs/stored"))
    equal_weights("runs/local", "runs/records")


def kill_after_checkpoint(folder, number, command):
    """Start a run and kill it with -9 when its next checkpoint has come to the bucket."""
    from keras_vit.system import remote

    def checkpoints():
        return {name for name in remote.objects("s3://bucket/runs/stored") if "step-" in name}

    before = checkpoints()
    with open(folder / f"killed-{number}.log", "w") as log:
        process = subprocess.Popen([sys.executable, "-m", "keras_vit", *command], stdout=log, stderr=log)
        while process.poll() is None and checkpoints() <= before:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"it ended before it was killed, see {log.name}"


def equal_weights(first, second):
    """Two runs have the same weights to the bit, the same history and the same results."""
    import keras_vit

    one, other = (keras_vit.Predictor.open(str(path)).model.get_weights() for path in (first, second))
    assert one and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    results = [Path(path, "run.json").read_text().splitlines() for path in (first, second)]
    measured = [[line for line in lines if '"top1"' in line or '"correct"' in line] for lines in results]
    assert measured[0] and measured[0] == measured[1], measured


def models(folder):
    """validate, export and convert take the run from the bucket and give the same, into it too"""
    for data in ([], ["--data-dir", "data/list.csv"]):
        stored = [text.replace("data/", "s3://bucket/data/") for text in data]
        found = [run("validate", *one) for one in (["runs/local", *data], ["s3://bucket/runs/stored", *stored])]
        top = [re.findall("top-1 .*", text) for text in found]
        assert top[0] and top[0] == top[1], found
    for place, source in ((folder, "runs/local"), ("s3://bucket", "s3://bucket/runs/stored")):
        run("export", source, "--output", f"{place}/serving", "--name", "colours")
        run("convert", source, "--output", f"{place}/edge", "--quant", "none")
    image = images(folder)[0]
    served = [run("predict", f"{place}/serving", image) for place in (folder, "s3://bucket")]
    assert served[0] == served[1], served
    from keras_vit.system import remote

    files = [name for name in remote.objects("s3://bucket/edge") if name.endswith(".tflite")]
    assert len(files) == 1
    same(next((folder / "edge").glob("*.tflite")), fetched(f"s3://bucket/edge/{files[0]}", folder / "fetched/x.tflite"))
    assert run("predict", f"s3://bucket/edge/{files[0]}", image) == run("predict", "edge", image)
    run("export", "s3://bucket/runs/stored", "--output", "s3://bucket/serving", "--name", "colours")  # a second version
    versions = {
        name.split("/")[2] for name in remote.objects("s3://bucket/serving") if name.startswith("models/colours/")
    }
    assert len(versions) == 2, versions


def answers(folder):
    """predict and embed, of folders, globs, manifests and shards, whole and in parts, give the bytes of the disk's"""
    from keras_vit.prediction.embeddings_file import load_embeddings

    for what in ("data/photos", "data/photos/*/0*.png", "data/list.csv", "shards"):
        name = what.partition("/")[2].replace("/", "_").replace("*", "x") or what
        url = f"s3://bucket/{what}"
        status = 0 if "0*" in what else 1  # one image is truncated
        run("predict", "runs/local", what, "--output", f"{name}.csv", status=status)
        run("predict", "s3://bucket/runs/stored", url, "--output", f"s3://bucket/{name}.csv", status=status)
        stored = fetched(f"s3://bucket/{name}.csv", folder / f"fetched/{name}.csv")
        text = stored.read_text().replace("s3://bucket/", "")
        assert text == Path(f"{name}.csv").read_text(), name
    for part in ("1/2", "2/2"):
        command = ("predict", "runs/local", "s3://bucket/data/list.csv", "--output", "s3://bucket/parts.csv")
        run(*command, "--shard", part, "--batch-size", "8", status=int(part == "2/2"))
    run("merge", "s3://bucket/parts.csv", status=1)
    run("predict", "runs/local", "s3://bucket/data/list.csv", "--output", "whole.csv", "--batch-size", "8", status=1)
    same("whole.csv", fetched("s3://bucket/parts.csv", folder / "fetched/parts.csv"))
    run("embed", "runs/local", "data/photos", "--output", "found.npz", status=1)
    run("embed", "runs/local", "s3://bucket/data/photos", "--output", "s3://bucket/found.npz", status=1)
    local, stored = map(load_embeddings, ("found.npz", fetched("s3://bucket/found.npz", folder / "fetched/found.npz")))
    np.testing.assert_array_equal(local.vectors, stored.vectors)


def failures(folder):
    """no bucket, no object, no credentials, a store that does not answer: named, in bounded time"""
    run_, out = "runs/local", ("--output", "nowhere.csv")
    assert "there is no bucket s3://nobucket" in run("predict", run_, "s3://nobucket/list.csv", *out, status=1)
    assert "no such object" in run("predict", run_, "s3://bucket/nowhere.png", *out, status=1)
    assert "no such object" in run("validate", "s3://bucket/runs/nowhere", status=1)
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    assert "AWS_ACCESS_KEY_ID" in run("check-data", "s3://bucket/data/list.csv", status=1, environment=nobody)
    dead = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    start = time.monotonic()
    assert "could not be reached: tried 5 times" in run(
        "predict", run_, "s3://b/x.csv", *out, status=1, environment=dead
    )
    assert time.monotonic() - start < 150
    assert not Path("nowhere.csv").exists()


if __name__ == "__main__":
    main()
