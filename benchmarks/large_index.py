"""A data set of many million images, from its index to the first batch's order:  python -m benchmarks.large_index

The index of shards names 14 million images of 21,843 classes, as many as ImageNet-21k has; the shards themselves are
sparse files of the stated sizes, and no image is read. In a process of its own: loading the index, the fingerprint that
a run checks, preparing the split, making the data set of the training batches, and the order of the first epoch. The
targets are 180 s and 6 GiB for all, TensorFlow's import included, and a second per million for the order.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time

from benchmarks.memory import in_own_process, resident

IMAGES, VALIDATION, CLASSES, SHARDS, BYTES, BATCH = 14_000_000, 50_000, 21_843, 1000, 110_000, 256


def write_index(folder, images):
    """A folder as `keras-vit prepare-data` writes it, of images that there are not."""
    from keras_vit.training.datasets.shards import FORMAT, INDEX

    splits = {"train": (images, SHARDS), "val": (VALIDATION, 10)}
    parts = {name: _write_split(folder, name, *sizes) for name, sizes in splits.items()}
    classes = [f"n{number:08d}" for number in range(CLASSES)]
    (folder / INDEX).write_text(
        json.dumps({"format": FORMAT, "name": "simulated", "classes": classes, "parts": parts}), encoding="utf-8"
    )


def _write_split(folder, name, images, shards):
    import numpy as np

    from keras_vit.training.datasets.records import FRAME
    from keras_vit.weights.download import sha256

    names = "\0".join(f"n{i % CLASSES:08d}/n{i % CLASSES:08d}_{i}.JPEG" for i in range(images)).encode()
    number, index = np.arange(images), folder / f"{name}.index.npz"
    np.savez(
        index,
        names=np.frombuffer(names, "uint8"),
        labels=(number % CLASSES).astype("int32"),
        shards=number % shards,
        offsets=number // shards * (BYTES + FRAME),
        lengths=np.full(images, BYTES),
    )
    entries = []
    for shard in range(shards):
        path = folder / f"{name}-{shard:05d}-of-{shards:05d}.tfrecord"
        with open(path, "wb") as file:
            file.truncate(-(-images // shards) * (BYTES + FRAME))
        entries.append({"file": path.name, "bytes": path.stat().st_size, "sha256": "", "pictures": images // shards})
    entry = {"file": index.name, "bytes": index.stat().st_size, "sha256": sha256(index)}
    return {"pictures": images, "index": entry, "shards": entries}


def measure(folder):
    """Seconds from the beginning to each step, and GiB at the end, in this process."""
    start, rows = time.perf_counter(), []

    def note(step):
        rows.append({"step": step, "seconds": time.perf_counter() - start, "GiB_peak": resident("VmHWM")})

    from keras_vit.preprocessing import Spec
    from keras_vit.training.datasets import shards, splits
    from keras_vit.training.pipeline import batches, sampler
    from keras_vit.training.recipe import Recipe

    data_set = shards.load(folder)
    note("index loaded")
    splits.fingerprint(data_set)
    note("fingerprint")
    prepared = batches.prepare(data_set.train, Spec((224, 224), (0.5,) * 3, (0.5,) * 3))
    note("prepared")
    recipe = Recipe(model="ViTTi16", dataset="records", data_dir=folder)
    batches.training_batches(prepared, recipe, BATCH)
    note("batches made")
    order = sampler.training_order(recipe, len(data_set.train), BATCH, 0, slice(0, BATCH), BATCH, None, None)
    next(iter(order))
    note("order of an epoch")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        print(json.dumps(measure(arguments.alone)))
        return
    from benchmarks import report

    print(report.machine())
    with tempfile.TemporaryDirectory() as folder:
        write_index(pathlib.Path(folder), arguments.images)
        rows = [{"images": arguments.images, **row} for row in in_own_process("large_index", folder)]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
