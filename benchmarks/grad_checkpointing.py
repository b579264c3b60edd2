"""Blocks computed again for gradients:  python -m benchmarks.grad_checkpointing [--sizes VALUE ...] [--csv FILE]

The trainer's step with `--grad-checkpointing` and without: memory as in `benchmarks.training_memory`, and the seconds
of a step, each in a process of its own.
"""

import argparse
import json
import statistics

from benchmarks import report
from benchmarks.memory import forget_peak, in_own_process, resident
from benchmarks.training_step import on_cpus

SIZES, WARM_UP, STEADY = ("ViTS16@224x16", "ViTS16@384x8", "SwinT@224x16", "SwinT@448x4"), 1, 3


def measured(what, again):
    """(MiB that steady steps need above the weights, seconds of one of them), in this process."""
    import tensorflow as tf

    from benchmarks.trainer_step import CLASSES, trainers_step
    from keras_vit.models import VARIANTS
    from keras_vit.training import recipe
    from keras_vit.training.step import model

    name, side, batch = parse(what)
    settings = recipe.load("quickstart").replace(
        model=name, img_size=(side, side), batch_size=batch, grad_checkpointing=bool(int(again))
    )
    spec = model.spec_of(settings)
    before, weights = resident("VmRSS"), VARIANTS[name].parameters * 4 / 2**30
    images = tf.random.stateless_normal((batch, side, side, 3), (0, 1))
    take = trainers_step(settings, spec, (images, tf.range(batch) % CLASSES), 1)
    seconds = []
    for step in range(WARM_UP + STEADY):
        if step == WARM_UP:
            forget_peak()
        seconds.append(report.seconds(take))
    return 1024 * (resident("VmHWM") - before - weights), statistics.median(seconds[WARM_UP:])


def parse(what):
    """ "SwinT@448x8": model, side in pixels, images of a batch."""
    name, _, rest = what.partition("@")
    return name, *map(int, rest.split("x"))


def measure(what):
    """A row: kept, and computed again."""
    (kept, fast), (less, slow) = (in_own_process("grad_checkpointing", what, again) for again in (0, 1))
    name, side, batch = parse(what)
    row = {"model": name, "pixels": side, "batch": batch, "kept_MiB": kept, "again_MiB": less, "memory": less / kept}
    return row | {"kept_seconds": fast, "again_seconds": slow, "time": slow / fast}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="MODEL@PIXELSxBATCH")
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    on_cpus(1)
    if arguments.alone:
        print(json.dumps(measured(*arguments.alone)))
        return
    print(report.machine())
    rows = []
    for what in arguments.sizes:
        rows.append(measure(what))
        report.show(rows[-1:])
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
