"""A training step on CPUs:  python -m benchmarks.training_step [--models NAME ...] [--rounds 5] [--csv FILE]

Forward, backward, clipping and AdamW on a batch of 16 images: the trainer's step against timm's model of the same
architecture on PyTorch, eager and compiled, and against itself on two replicas that share the cores. The sides
alternate, each in a process of its own; medians over the rounds are compared.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor

from benchmarks import peers, processes, report

OURS, BATCH, WARM_UP = "trainer", 16, 1
REPLICAS = {OURS: 1, "trainer, 2 replicas": 2}
SIDES = (*REPLICAS, "timm eager", "timm compiled")


def on_cpus(replicas):
    """Restrict TensorFlow to the CPU, with a logical device per replica."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_visible_devices([cpu])
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)


def our_step(name, replicas=1):
    """A function that takes one step as the trainer does, on one logical device per replica."""
    import tensorflow as tf

    from benchmarks.trainer_step import CLASSES, trainers_step
    from keras_vit.training import recipe
    from keras_vit.training.step import model

    settings = recipe.load("quickstart").replace(model=name, img_size=None, batch_size=BATCH)
    spec = model.spec_of(settings)
    images = tf.random.stateless_normal((BATCH // replicas, *spec.size, 3), (0, 1))
    return trainers_step(settings, spec, (images, tf.range(BATCH // replicas) % CLASSES), replicas)


def timm_step(name, mode):
    """The same for timm's model."""
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


def sides_of(name, what):
    """{side: step} of one side; empty if it is not installed."""
    if what in REPLICAS:
        on_cpus(REPLICAS[what])
        return {what: our_step(name, REPLICAS[what])}
    with peers.leaving_out(what):
        return {what: timm_step(name, what)}
    return {}


def measure(name, rounds):
    """A row per side the trainer's step is compared with."""
    commands = (("--serve", what, "--models", name) for what in SIDES)
    with processes.served("benchmarks.training_step", *commands) as sides, ThreadPoolExecutor() as pool:
        list(pool.map(lambda take: take(), sides.values()))  # the first steps compile: all at once
        times = report.alternate(sides, rounds, WARM_UP)
    yield from report.compare({"model": name, "batch": BATCH}, times, OURS, [what for what in times if what != OURS])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=peers.MODELS, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        processes.serve(lambda: sides_of(arguments.models[0], arguments.serve))
        return
    print(report.machine())
    rows = [row for name in arguments.models for row in measure(name, arguments.rounds)]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
