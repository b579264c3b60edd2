"""The time before the first prediction:  python -m benchmarks.startup [--rounds 5] [--csv FILE]

Ratios, each measured in one run with the sides alternating, medians over the rounds:
- `import keras_vit` in fresh processes, which imports neither Keras nor TensorFlow; at most 0.3 s
- importing and building the first model, SwinT, in fresh processes, against Keras and keras.applications.ConvNeXtTiny;
  at most 1.1 times as long
- building SwinT against keras.applications.ConvNeXtTiny; at most as long
- building SwinT with a weight file against building it without and reading the file; at most twice as long
- sizes T to L: building, and the first prediction, which traces and compiles, in fresh processes, against
  keras.applications' ConvNeXt of that size
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np

from benchmarks import report
from benchmarks.memory import in_own_process
from keras_vit.models import VARIANTS, SwinT
from keras_vit.weights import readers
from tests.golden import compare

FIRST_MODEL = {  # in a fresh process: import, then the first model
    "SwinT": ("import keras_vit", "keras_vit.create_model('SwinT')"),
    "ConvNeXtTiny": ("import keras", "keras.applications.ConvNeXtTiny(weights=None)"),
}
TIMED = """
import time
start = time.perf_counter()
{}
imported = time.perf_counter()
{}
print(imported - start, time.perf_counter() - start)
"""

SIZES = {  # keras.applications' model: ours of its size
    "ConvNeXtTiny": ("ConvNeXtT", "SwinT", "ViTS16", "DeiTS"),
    "ConvNeXtSmall": ("ConvNeXtS", "SwinS"),
    "ConvNeXtBase": ("ConvNeXtB", "SwinB", "ViTB16", "DeiTB"),
    "ConvNeXtLarge": ("ConvNeXtL", "SwinL", "ViTL16"),
}
STAGES = ("build", "first prediction")


def importing():
    """Seconds of each import, and until the first model is built, each in a process of its own."""
    times = {}
    for name, (imports, builds) in FIRST_MODEL.items():
        command = [sys.executable, "-c", TIMED.format(imports, builds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        times[imports], times[name] = map(float, done.stdout.split())
    return times


def building():
    """Seconds to build either model without weights."""
    keras.backend.clear_session()
    times = {"ConvNeXtTiny": report.seconds(lambda: keras.applications.ConvNeXtTiny(weights=None))}
    keras.backend.clear_session()
    return {**times, "SwinT": report.seconds(lambda: SwinT(weights=None))}


def loading(path):
    """Seconds to build a model, to read a file, and of the public call that does both."""
    times = {}
    for name, work in (
        ("build SwinT", lambda: SwinT(weights=None)),
        ("read the file", lambda: read_all(path)),
        ("SwinT(weights=path)", lambda: SwinT(weights=path)),
    ):
        keras.backend.clear_session()
        times[name] = report.seconds(work)
    return times


def read_all(path):
    entries = readers.read(path)
    return sum(float(np.asarray(entries[name]).ravel()[0]) for name in entries)


def starting(name):
    """Seconds of each of STAGES, in this process."""
    constructor, image = VARIANTS.get(name) or getattr(keras.applications, name), np.zeros((1, 224, 224, 3), "float32")
    start = time.perf_counter()
    model = constructor(weights=None)
    built = time.perf_counter()
    model.predict_on_batch(image)
    return dict(zip(STAGES, (built - start, time.perf_counter() - built)))


def sizes(rounds):
    """A row per model of SIZES and stage."""
    for theirs, names in SIZES.items():
        times = {name: [] for name in (theirs, *names)}
        for _ in range(rounds):
            for name, taken in times.items():
                taken.append(in_own_process("startup", name))
        middle = {name: {s: statistics.median(t[s] for t in taken) for s in STAGES} for name, taken in times.items()}
        for name in names:
            for stage in STAGES:
                yield row(f"{stage} of {name}", middle[name][stage], theirs, middle[theirs][stage])


def medians(work, rounds):
    """One round to warm up, then the median of each part."""
    work()
    times = [work() for _ in range(rounds)]
    return {part: statistics.median(t[part] for t in times) for part in times[0]}


def swin_file(folder):
    """A Swin-T checkpoint in timm's layout, with synthetic values."""
    record = np.load(compare.RECORDS / "swin_tiny_patch4_window7_224.npz")
    path = pathlib.Path(folder) / "swin_t.safetensors"
    compare.write_weights(json.loads(str(record["meta"])), path)
    return path


def measure(rounds):
    """The table's rows."""
    start = medians(importing, rounds)
    build = medians(building, rounds)
    with tempfile.TemporaryDirectory() as folder:
        path = swin_file(folder)
        load = medians(lambda: loading(path), rounds)
    parts = load["build SwinT"] + load["read the file"]
    yield from (
        row("import keras_vit", start["import keras_vit"], "0.3 s", 0.3),
        row("import and build SwinT", start["SwinT"], "ConvNeXtTiny, 1.1 x", 1.1 * start["ConvNeXtTiny"]),
        row("build SwinT", build["SwinT"], "ConvNeXtTiny", build["ConvNeXtTiny"]),
        row("SwinT(weights=path)", load["SwinT(weights=path)"], "2 x (read + build)", 2 * parts),
    )
    yield from sizes(rounds)


def row(what, seconds, against, budget):
    return {"what": what, "seconds": seconds, "against": against, "budget_s": budget, "ratio": seconds / budget}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(starting(arguments.alone)))
        return
    print(report.machine())
    rows = list(measure(arguments.rounds))
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
