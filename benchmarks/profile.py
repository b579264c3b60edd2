"""Time of a forward pass by operator:  python -m benchmarks.profile [--models NAME ...] [--batch-size B] [--csv FILE]

TensorFlow's own times of each kind of operator in the graph (without XLA, which fuses all into one), and the pass's
multiply-adds per second as a share of the peak that large matrix products reach on this machine.
"""

import argparse
import re
import statistics
import tempfile
from collections import Counter
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks import peers, report
from keras_vit.analysis import count
from keras_vit.export.parity import parity
from keras_vit.models import VARIANTS

LARGE, LISTED = 2048, 6  # side of the matrices whose product is the peak; kinds of operators in a row


def peak(rounds=10):
    """Multiply-adds per second of a product of large matrices, all cores: the best round."""
    matrix = tf.random.stateless_normal((LARGE, LARGE), (0, 1))
    product = tf.function(lambda: tf.reduce_sum(matrix @ matrix))
    product()
    return LARGE**3 / min(report.seconds(lambda: product().numpy()) for _ in range(rounds))


def operator_seconds(run):
    """{kind of operator: seconds, summed over the threads} of one call."""
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        run()
        tf.profiler.experimental.stop()
        (written,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(written.read_bytes())
    seconds = Counter()
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            node = re.fullmatch(r"[\w/.-]+:(_Mkl)?(?P<kind>\w+)", plane.event_metadata[event.metadata_id].name)
            if node:
                seconds[node["kind"]] += event.duration_ps / 1e12
    return seconds


def measure(name, batch, rounds, most):
    """A row: median time, part of the peak, and the kinds of operators that take longest."""
    variant = VARIANTS[name]
    model = variant(weights=None)
    images = tf.random.stateless_normal((batch, *variant.image_size, 3), (0, 1))
    graph = tf.function(lambda x: model(x, training=False), autograph=False)
    graph(images)
    seconds = statistics.median(report.seconds(lambda: graph(images).numpy()) for _ in range(rounds))
    spent = operator_seconds(lambda: graph(images).numpy())
    shares = (f"{kind} {100 * part / spent.total():.0f} %" for kind, part in spent.most_common(LISTED))
    part = batch * count(model).multiply_adds / seconds / most
    return {"model": name, "batch": batch, "ms": 1000 * seconds, "of_peak": part, "operators": ", ".join(shares)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=peers.MODELS, choices=VARIANTS, metavar="NAME")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", help="where to write the rows as well")
    arguments = parser.parse_args()
    parity.on_cpu()
    print(report.machine())
    most = peak()
    print(f"Most multiply-adds per second: {most / 1e9:.0f} G")
    rows = [measure(name, arguments.batch_size, arguments.rounds, most) for name in arguments.models]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
