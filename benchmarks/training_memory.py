"""Memory of a training step:  python -m benchmarks.training_memory [--models NAME ...] [--csv FILE]

The step of `benchmarks.training_step`, the trainer's against timm's in PyTorch's eager mode: the peak of resident
memory over steady steps in a process of its own, less the memory before the model and less the weights.
"""

import argparse
import json

from benchmarks import peers, report
from benchmarks.memory import forget_peak, in_own_process, resident
from benchmarks.training_step import BATCH, OURS, on_cpus, our_step, timm_step

EAGER, OTHER, WARM_UP, STEADY = "timm eager", "ViTTi16", 2, 3


def side(name, what):
    """The step of one side."""
    return timm_step(name, what) if what == EAGER else our_step(name)


def peak(name, what):
    """MiB that steady steps need above the weights, in this process."""
    from keras_vit.models import VARIANTS

    side(OTHER, what)  # so that imports and runtimes are not counted
    before, weights = resident("VmRSS"), VARIANTS[name].parameters * 4 / 2**30
    take = side(name, what)
    for step in range(WARM_UP + STEADY):
        if step == WARM_UP:
            forget_peak()
        take()
    return 1024 * (resident("VmHWM") - before - weights)


def measure(name):
    """A row: ours, and timm's where timm has the model."""
    ours, its = in_own_process("training_memory", name, OURS), None
    with peers.leaving_out(EAGER):
        peers.timm_model(name, 1)
        its = in_own_process("training_memory", name, EAGER)
    figures = {"its_MiB": its, "ratio": ours / its} if its else dict.fromkeys(("its_MiB", "ratio"), report.NOT_MEASURED)
    return {"model": name, "batch": BATCH, "MiB": ours, "against": EAGER, **figures}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=peers.MODELS, metavar="NAME")
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    on_cpus(1)
    if arguments.alone:
        print(json.dumps(peak(*arguments.alone)))
        return
    print(report.machine())
    rows = [measure(name) for name in arguments.models]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
