"""Growth of a forward pass with its input:  python -m benchmarks.growth [--models NAME ...] [--rounds 5] [--csv FILE]

Time and memory of one pass as a TensorFlow graph, against the pixels of an image and against the images of a batch,
each in a process of its own; exponents are fitted to all points of a model. Windowed (Swin), factorised (CoaT) and
pooled (PVT v2 Li) attention and convolutions (ConvNeXt) should grow linearly with the pixels, exponent 1; ViT, with
attention over all tokens, is the comparison.
"""

import argparse
import json
import statistics

import numpy as np

from benchmarks import report
from benchmarks.memory import forget_peak, in_own_process, resident

MODELS = ("SwinT", "CoaTLiteTiny", "PVTV2B2Li", "ConvNeXtT", "ViTS16")
SIDES, BATCHES = (224, 448, 672, 1024), (1, 2, 4, 8)  # pixels, at one image; images, at 224 pixels


def cost(name, side, batch, rounds):
    """Seconds of a pass (median), and GiB above the built model, in this process."""
    import tensorflow as tf

    import keras_vit

    model = keras_vit.create_model(name, weights=None, input_shape=(side, side, 3))
    images = tf.random.stateless_normal((batch, side, side, 3), (0, 1))
    run = tf.function(lambda x: model(x, training=False), autograph=False)
    before = resident("VmRSS")
    run(images).numpy()
    forget_peak()
    times = [report.seconds(lambda: run(images).numpy()) for _ in range(rounds)]
    return statistics.median(times), resident("VmHWM") - before


def exponent(sizes, costs):
    """p of cost = c * size ** p, by least squares of the logarithms."""
    return np.polyfit(np.log(sizes), np.log(costs), 1)[0]


def measure(name, rounds):
    """Two rows: growth with the pixels, and with the batch."""
    for what, sizes, points in (
        ("pixels", [side**2 for side in SIDES], [(side, 1) for side in SIDES]),
        ("batch", BATCHES, [(SIDES[0], batch) for batch in BATCHES]),
    ):
        seconds, memory = zip(*(in_own_process("growth", name, side, batch, rounds) for side, batch in points))
        listed = {"ms": [f"{1000 * t:.0f}" for t in seconds], "GiB": [f"{m:.2f}" for m in memory]}
        exponents = {"time_exponent": exponent(sizes, seconds), "memory_exponent": exponent(sizes, memory)}
        where = " ".join(map(str, SIDES if what == "pixels" else BATCHES))
        yield {"model": name, "against": what, "at": where} | {k: " ".join(v) for k, v in listed.items()} | exponents


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--alone", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        name, *numbers = arguments.alone
        print(json.dumps(cost(name, *map(int, numbers))))
        return
    print(report.machine())
    rows = [row for name in arguments.models for row in measure(name, arguments.rounds)]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
