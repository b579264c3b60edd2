"""Models of any size against those of one size:  python -m benchmarks.any_size [--before FOLDER] [--csv FILE]

Inference in a TensorFlow graph: the graph of the model of any size knows no size, that of the other its own. Both
alternate in one process; medians over the rounds are compared, and reported with the 10th and 90th percentile. With
`--before`, a folder with another version of this repository, its models of one size take part in a process of their
own. Behind that, the memory that a pass over large images takes above the built model, each in a process of its own.
Weights are random; the images are black.
"""

import argparse
import json
import os
import sys

from benchmarks import memory, processes, report

MODELS = ("ViTS16", "ViTRTi16", "DeiTS", "DINOv2S", "SwinT", "ConvNeXtT", "CoaTLiteTiny", "TNTS")
MODELS += ("T2TViT14", "PVTSmall", "PVTV2B1")
SIZES, BATCHES = ("224x224", "448x672"), (1, 8)  # pixels, multiples of 14 and of 32
LARGE, LARGE_BATCH, DEMANDING = 448, 8, ("ViTB8", "T2TViTT14", "SwinT")  # of memory
MODULE = "benchmarks.any_size"


def build(name, size):
    """A model of one size, or with None of any."""
    import keras_vit

    return keras_vit.create_model(name, weights=None, input_shape=(*(size or (None, None)), 3))


def graph(model):
    """Its TensorFlow graph, with the sizes of its input."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None, *model.inputs[0].shape[1:]], "float32")]
    return tf.function(lambda x: model(x, training=False), input_signature=signature, autograph=False)


def sides(name, size, batch, before):
    """{side: a function that predicts a batch}."""
    import tensorflow as tf

    images = tf.zeros((batch, *size, 3))
    models = {"one size before": size} if before else {"any size": None, "one size": size}
    graphs = {side: graph(build(name, known)) for side, known in models.items()}
    return {side: lambda run=run: run(images).numpy() for side, run in graphs.items()}


def measure(name, size, batch, rounds, before):
    """A row for the model of any size against that of one, and one for the latter against its version before."""
    wanted = ("--serve", name, size, batch)
    each = [wanted, *([(*wanted, "--before", before)] if before else [])]
    with processes.served(MODULE, *each) as served:
        times = report.alternate(served, rounds)
    facts = {"model": name, "pixels": size, "batch": batch}
    yield from report.compare({**facts, "ours": "any size"}, times, "any size", ["one size"])
    if before:
        yield from report.compare({**facts, "ours": "one size"}, times, "one size", ["one size before"])


def peak(name, of_any_size):
    """GiB of a pass above the built model, in this process."""
    import tensorflow as tf

    run = graph(build(name, None if of_any_size else (LARGE, LARGE)))
    images = tf.random.stateless_normal((LARGE_BATCH, LARGE, LARGE, 3), (0, 1))
    before = memory.resident("VmRSS")
    for _ in range(memory.PASSES):
        run(images).numpy()
    return memory.resident("VmHWM") - before


def measure_memory(names):
    """A row per model."""
    for name in names:
        of_any, of_one = (memory.in_own_process("any_size", name, kind) for kind in (1, 0))
        yield {"model": name, "pixels": LARGE, "batch": LARGE_BATCH, "GiB": of_any, "its_GiB": of_one}


def serve(name, size, batch, before):
    """Answer in this process; for the version before in one that imports it."""
    if before and before not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        command = [sys.executable, os.path.abspath(__file__), *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONPATH": before})
    processes.serve(lambda: sides(name, tuple(map(int, size.split("x"))), int(batch), before))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="*", default=MODELS, metavar="NAME")
    parser.add_argument(
        "--memory", nargs="*", default=DEMANDING, metavar="NAME", help="models whose memory is measured"
    )
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="HxW")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=BATCHES, metavar="B")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--before", type=os.path.abspath, metavar="FOLDER")
    parser.add_argument("--csv", help="where to write the rows of speed as well")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(peak(arguments.alone[0], int(arguments.alone[1]))))
        return
    if arguments.serve:
        serve(*arguments.serve, arguments.before)
        return
    print(report.machine())
    cases = [
        (name, size, batch) for name in arguments.models for size in arguments.sizes for batch in arguments.batch_sizes
    ]
    rows = []
    for case in cases:
        rows += measure(*case, arguments.rounds, arguments.before)
        report.write(arguments.csv, rows)  # after every case: the whole takes long
    if rows:
        report.show(rows)
    if arguments.memory:
        report.show(list(measure_memory(arguments.memory)))


if __name__ == "__main__":
    main()
