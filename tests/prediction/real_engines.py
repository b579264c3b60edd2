"""The examples of Ray Data and Spark on this machine, against `keras-vit predict`.

make test-engines     which makes the environment and runs  python -m tests.prediction.real_engines build/engines

A small ViT with random weights classifies 1,000 images, 20 of them damaged, from Parquet files on the disk and in a
bucket of moto's server. With two workers each: every label is that of `keras-vit predict`, every score within
TOLERANCE; a process loads the model once; and where a worker is killed (-9) in the middle, no row is missing and none
is there twice.
"""

import argparse
import collections
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

IMAGES, DAMAGED, CLASSES, SIZE = 1000, 20, 10, (96, 96)
TOLERANCE = 1e-5  # of probabilities: float32, in batches of other images and with other numbers of threads
BUCKET = "photos"
COUNTER = """\
import os, sys

def opened(event, arguments):
    if event == "open" and str(arguments[0]).endswith("/run/model.keras"):
        file = os.open(os.environ["LOADS"], os.O_WRONLY | os.O_APPEND)  # without an event of its own
        os.write(file, b"%d\\n" % os.getpid())
        os.close(file)

if "LOADS" in os.environ:
    sys.addaudithook(opened)
"""  # as sitecustomize.py, which every process imports at its start: writes down who opens the model's file
REPOSITORY = pathlib.Path(__file__).parents[2]


def write_run(folder):
    """A run whose classes have clearly different scores."""
    import keras

    import keras_vit
    from keras_vit.preprocessing import Spec
    from keras_vit.sources.run_folder import Run

    keras.utils.set_random_seed(1)
    vit = keras_vit.create_model("ViTTi16", weights=None, classes=CLASSES, input_shape=(*SIZE, 3))
    head = vit.get_layer("head")
    head.kernel.assign(np.random.default_rng(0).normal(0, 0.3, head.kernel.shape))
    labels = [f"class {number}" for number in range(CLASSES)]
    spec = Spec(SIZE, (0.5,) * 3, (0.5,) * 3, input_values="normalized")
    Run.write_description(folder, name="engines", model_name="ViTTi16", labels=labels, spec=spec)
    vit.save(folder / "model.keras")


def write_images(folder):
    """Noise on colours, of several sizes, and some files that are no images."""
    from PIL import Image

    draw = np.random.default_rng(0)
    folder.mkdir()
    for number in range(IMAGES):
        path = folder / f"{number:04}.png"
        if number % (IMAGES // DAMAGED) == 7:
            path.write_bytes(b"no image")
            continue
        height, width = draw.integers(90, 150, 2)
        pixels = draw.integers(0, 256, 3) + draw.normal(0, 30, (height, width, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(path)


def run(folder, name, *command, kill=False):
    """Run a command to its end, and return {process: how often it opened the model's file}.

    Args:
        kill: whether the first process that loads the model is killed, five seconds later.
    """
    loads = folder / f"{name}.loads"
    loads.write_text("")
    path = os.pathsep.join(map(str, (REPOSITORY, folder / "site")))
    environment = os.environ | {"LOADS": str(loads), "PYTHONPATH": path}
    start = time.perf_counter()
    with (folder / f"{name}.log").open("w") as log:
        started = subprocess.Popen(
            [sys.executable, *map(str, command)], stdout=log, stderr=log, env=environment, cwd=REPOSITORY
        )
        if kill:
            kill_first(loads, started)
        status = started.wait(400)
    if status not in (0, 1 if name == "predict" else 0):  # predict ends with 1 if an image cannot be read
        raise SystemExit(f"{name} ended with {status}; see {folder / name}.log")
    counted = collections.Counter(loads.read_text().split())
    print(
        f"{name}: {time.perf_counter() - start:.0f} s, the model's file opened by processes: {dict(counted)}",
        flush=True,
    )
    return counted


def kill_first(loads, started):
    """Kill the first process, other than the driver, that loads the model."""
    deadline = time.monotonic() + 200
    while not (workers := [int(line) for line in loads.read_text().split() if int(line) != started.pid]):
        if time.monotonic() > deadline or started.poll() is not None:
            raise SystemExit("No worker loaded the model.")
        time.sleep(0.1)
    time.sleep(5)
    if started.poll() is not None:
        raise SystemExit("The job was over before its worker was killed; give it more images.")
    os.kill(workers[0], signal.SIGKILL)
    print(f"killed {workers[0]}", flush=True)


def compare(name, table, expected):
    """Hold the answers of an engine against those of `keras-vit predict`."""
    rows = {pathlib.Path(row["path"]).name: row for row in table.to_pylist()}
    bad = {path for path, row in rows.items() if row["reason"]}
    if table.num_rows != IMAGES or len(rows) != IMAGES:
        raise SystemExit(f"{name}: {table.num_rows} rows of {len(rows)} images; expected {IMAGES}.")
    if any(row["labels"] or row["scores"] for row in rows.values() if row["reason"]) or bad & expected.keys():
        raise SystemExit(f"{name}: images that cannot be read have answers.")
    good = {path: rows[path] for path in rows.keys() - bad}
    if good.keys() != expected.keys():
        raise SystemExit(f"{name}: answers for {len(good)} images; expected {len(expected)}.")
    others = [path for path, row in good.items() if row["labels"] != expected[path]["labels"]]
    furthest = max(np.abs(np.subtract(row["scores"], expected[path]["scores"])).max() for path, row in good.items())
    print(f"{name}: {len(good)} answers, {len(bad)} bad images, scores within {furthest:.1e}", flush=True)
    if others or furthest > TOLERANCE:
        raise SystemExit(f"{name}: {len(others)} images with other labels, scores up to {furthest:.1e} apart.")


def check_loads(name, counted, once, workers):
    """Every process opened the file as often as loading the model once does, and there were at least so many."""
    if set(counted.values()) != {once} or len(counted) < workers:
        raise SystemExit(f"{name}: processes opened the model's file {dict(counted)} times; expected {once} each.")


def store(folder):
    """A bucket with the Parquet files; returns its address and how it is reached from this process."""
    import pyarrow.fs
    from moto.server import ThreadedMotoServer

    os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_EC2_METADATA_DISABLED": "true"}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    address = "%s:%d" % ("127.0.0.1", server.get_host_and_port()[1])
    reached = pyarrow.fs.S3FileSystem(endpoint_override=address, scheme="http", allow_bucket_creation=True)
    reached.create_dir(BUCKET)
    pyarrow.fs.copy_files(str(folder), f"{BUCKET}/parquet", destination_filesystem=reached)
    return f"http://{address}", reached


def check_objects(folder, expected):
    """Opened predictors and embedders as arguments of Ray, classes and functions, and batches of NumPy arrays."""
    import ray

    import keras_vit
    from keras_vit.prediction.engines import EmbedBatches, PredictBatches

    ray.init(num_cpus=2, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(REPOSITORY)}})
    photos = ray.data.read_parquet(str(folder / "parquet")).limit(64)
    predictor, embedder = keras_vit.Predictor.open(folder / "run"), keras_vit.Embedder.open(folder / "run")
    ways = {
        "class": photos.map_batches(
            PredictBatches, fn_constructor_args=[predictor], compute=ray.data.ActorPoolStrategy(size=1)
        ),
        "function": photos.map_batches(PredictBatches(predictor), batch_size=32),
    }
    for way, answers in ways.items():
        for row in answers.take_all():
            path = pathlib.Path(row["path"]).name
            if path not in expected:
                assert row["labels"] is None and row["scores"] is None and row["reason"], (way, row)
                continue
            assert list(row["labels"]) == expected[path]["labels"] and row["reason"] is None, (way, row)
            np.testing.assert_allclose(row["scores"], expected[path]["scores"], atol=TOLERANCE, err_msg=way)
    for row in photos.map_batches(EmbedBatches(embedder), batch_size=32).take_all():
        name = pathlib.Path(row["path"]).name
        if name not in expected:
            assert row["vector"] is None and row["reason"], row
            continue
        (vector,) = embedder.embed([folder / "photos" / name])
        np.testing.assert_allclose(row["vector"], vector, atol=1e-4)
    ray.shutdown()
    print("Ray with predictors and embedders as arguments: as predict", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="to work in; what is there is removed")
    parser.add_argument("--only", nargs="+", choices=("ray", "spark", "objects"), default=("ray", "spark", "objects"))
    options = parser.parse_args()
    import pyarrow.parquet as pq

    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(COUNTER)
    write_run(folder / "run"), write_images(folder / "photos")
    parquet = folder / "parquet"
    run(folder, "pack", "-m", "examples.pack_parquet", folder / "photos", "--output", parquet, "--rows", 100)
    reference = ("-m", "keras_vit", "predict", folder / "run", folder / "photos", "--output", folder / "found.parquet")
    run(folder, "predict", *reference)
    load = f"import keras_vit; keras_vit.Predictor.open({str(folder / 'run')!r})"
    (once,) = run(folder, "load", "-c", load).values()
    expected = {pathlib.Path(row["path"]).name: row for row in pq.read_table(folder / "found.parquet").to_pylist()}
    endpoint, reached = store(parquet)
    for engine in ("ray", "spark"):
        if engine not in options.only:
            continue
        example = ("-m", f"examples.{engine}_predict", folder / "run")
        for name, images, more in (
            ("disk", parquet, ()),
            ("killed", parquet, ()),
            ("bucket", f"{BUCKET}/parquet", ("--endpoint", endpoint)),
        ):
            name = f"{engine}_{name}"
            in_bucket = bool(more) and engine == "ray"  # Spark's own writers need hadoop-aws for that
            output, where = (f"{BUCKET}/{name}", reached) if in_bucket else (str(folder / name), None)
            kill = name.endswith("killed")
            counted = run(folder, name, *example, images, "--output", output, *more, kill=kill)
            driver = engine == "spark"  # which opens the model for the columns' types
            check_loads(name, counted, once, 2 + (driver or kill))
            compare(name, pq.read_table(output, filesystem=where), expected)
    if "objects" in options.only:
        check_objects(folder, expected)


if __name__ == "__main__":
    main()
