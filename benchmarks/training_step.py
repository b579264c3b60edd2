"""A step of training on CPUs:  python -m benchmarks.training_step [--models NAME ...] [--rounds 5] [--csv FILE]

Forward, backward, clipping and AdamW on a batch of 16 pictures: the trainer's step against timm's model of the same
architecture on PyTorch, eager and compiled, and against itself on two replicas that share the cores. The sides take
turns; medians over the rounds are compared. Memory is the most that a process of its own holds over steady steps, less
what it held before the model and less the weights.
"""

import argparse
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import peers, report  # noqa: E402
from benchmarks.memory import forget_peak, in_own_process, resident  # noqa: E402

OURS, REPLICAS, BATCH, WARM_UP, STEADY = "trainer", "trainer, 2 replicas", 16, 2, 3
TIMM = ("timm eager", "timm compiled")


def our_step(name, replicas=1):
    """A function that takes one step as the trainer does; its work is spread over logical devices, if several."""
    import keras
    import tensorflow as tf

    from benchmarks.trainer_step import CLASSES, trainers_step
    from keras_vit.training import model, recipe

    settings = recipe.load("quickstart").replace(model=name, img_size=None, batch_size=BATCH, xla=True)
    spec = model.spec_of(settings)
    network = model.build_for_training(settings, CLASSES, spec)
    settings = settings.replace(xla=model.compiles(settings, network))
    keras.backend.clear_session()
    images = tf.random.stateless_normal((BATCH // replicas, *spec.size, 3), (0, 1))
    return trainers_step(settings, spec, (images, tf.range(BATCH // replicas) % CLASSES), replicas)


def timm_step(name, mode):
    """The same of timm's model."""
    from benchmarks.trainer_step import CLASSES

    model, images = peers.timm_model(name, BATCH, num_classes=CLASSES)
    import torch

    labels = torch.arange(BATCH) % CLASSES
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    run = torch.compile(model.train()) if mode == "timm compiled" else model.train()

    def take():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(run(images), labels, label_smoothing=0.1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return take


def side(name, what):
    """The step of one side."""
    return timm_step(name, what) if what in TIMM else our_step(name, 2 if what == REPLICAS else 1)


def peak(name, what):
    """MiB that steady steps need above the weights, in this process."""
    from keras_vit.models import VARIANTS

    side("DeiTTi" if name != "DeiTTi" else "ViTTi16", what)  # imports and runtimes are not the model's
    before, weights = resident("VmRSS"), VARIANTS[name].parameters * 4 / 2**30
    take = side(name, what)
    for step in range(WARM_UP + STEADY):
        if step == WARM_UP:
            forget_peak()
        take()
    return 1024 * (resident("VmHWM") - before - weights)


def measure(name, rounds):
    """A row per side that the trainer's step is compared with."""
    sides = {OURS: our_step(name), REPLICAS: our_step(name, 2)}
    for what in TIMM:
        with peers.leaving_out(what):
            sides[what] = timm_step(name, what)
    times = report.alternate(sides, rounds, WARM_UP)
    memory = {what: in_own_process("training_step", name, what) for what in sides}
    for row in report.compare({"model": name, "batch": BATCH}, times, OURS, [what for what in sides if what != OURS]):
        other = row["against"]
        yield row | {"MiB": memory[OURS], "its_MiB": memory[other], "MiB_ratio": memory[OURS] / memory[other]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=peers.MODELS, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_visible_devices([cpu])
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    if arguments.alone:
        print(json.dumps(peak(*arguments.alone)))
        return
    print(report.machine())
    rows = [row for name in arguments.models for row in measure(name, arguments.rounds)]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
