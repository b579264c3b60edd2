"""Memory of a forward pass above the built model:  python -m benchmarks.memory [--models NAME ...] [--csv FILE]

The pass runs in a process of its own, as a TensorFlow graph and compiled by XLA, on a batch of large images: the peak
of resident memory over two passes, less the memory before the first. Full score matrices of the default models would
take 5.0 GB (T2TViTT14) and 3.8 GB (ViTB8); attention in chunks keeps the pass within 4 GiB.
"""

import argparse
import json
import pathlib
import subprocess
import sys

MODELS, SIDE, BATCH, PASSES, BUDGET = ("T2TViTT14", "ViTB8"), 448, 8, 2, 4.0
MODES = {"graph": False, "XLA": True}


def resident(field):
    """GiB of a field of /proc/self/status: VmRSS is resident memory, VmHWM its peak."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 2**20


def forget_peak():
    """Reset VmHWM, so that building and tracing are not counted."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def in_own_process(module, *arguments):
    """The last line that `python -m benchmarks.MODULE --alone ...` prints, as JSON."""
    command = [sys.executable, "-m", f"benchmarks.{module}", "--alone", *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[-1])


def peak(name, mode):
    """GiB above the built model, in this process."""
    import tensorflow as tf

    import keras_vit

    model = keras_vit.create_model(name, weights=None, input_shape=(SIDE, SIDE, 3))
    images = tf.random.stateless_normal((BATCH, SIDE, SIDE, 3), (0, 1))
    run = tf.function(lambda x: model(x, training=False), jit_compile=MODES[mode], autograph=False)
    before = resident("VmRSS")
    for _ in range(PASSES):
        run(images).numpy()
    return resident("VmHWM") - before


def measure(names):
    """The table: a row per model and mode, each measured in a process of its own."""
    for name in names:
        for mode in MODES:
            gib = in_own_process("memory", name, mode)
            yield {"model": name, "pixels": SIDE, "batch": BATCH, "mode": mode, "GiB": gib, "budget_GiB": BUDGET}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(peak(*arguments.alone)))
        return
    from benchmarks import report

    print(report.machine())
    rows = list(measure(arguments.models))
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
