"""The trainer's overhead per step:  python -m benchmarks.trainer_step [--model SwinT] [--rounds 30] [--csv FILE]

The trainer's step (MirroredStrategy over one device; gradient, all-reduce, clipping, loss scale, update) against the
bare one: forward, backward, clipping and Keras' AdamW in a single function compiled by XLA, without a strategy. Same
model, same batch; the sides alternate, and the fastest round of each is compared, since other work on a machine only
adds time. The target is at most 1.1 times as long.
"""

import argparse

import keras
import tensorflow as tf

from benchmarks import report
from keras_vit.training import recipe
from keras_vit.training.step import model, step
from keras_vit.training.step.losses import cross_entropy
from keras_vit.training.step.state import State

CLASSES, STEPS = 10, 1000


def trainers_step(settings, spec, batch, replicas=1):
    """A function that takes one step as the trainer does, with a batch per replica, and waits for it."""
    devices = (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[:replicas]
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    with strategy.scope():
        state = State.build(settings, CLASSES, spec, STEPS)
    take = step.make_train_step(strategy, state, settings, compiled=settings.xla)
    images, labels = batch
    dataset = tf.data.Dataset.from_tensors((images, labels, labels, tf.ones(len(labels)))).repeat()
    batches = iter(strategy.distribute_datasets_from_function(lambda context: dataset))
    number, stop = tf.constant(0, tf.int64), tf.constant(0.0)
    return lambda: take((next(batches),), number, stop).numpy()


def bare_step(settings, spec, batch):
    """The same without a strategy, all of it in one compiled function."""
    network = model.build_for_training(settings, CLASSES, spec)
    optimizer = keras.optimizers.AdamW(1e-3, settings.weight_decay)
    optimizer.build(network.trainable_variables)
    weights = [v.value for v in network.trainable_variables]

    @tf.function(jit_compile=True, autograph=False)
    def take(images, labels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(cross_entropy(labels, network(images, training=True), settings.smoothing))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, weights), settings.clip_grad)
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    return lambda: take(*batch).numpy()


def measure(settings, rounds):
    """The table's rows."""
    spec = model.spec_of(settings)
    images = tf.random.stateless_normal((settings.batch_size, *spec.size, 3), (0, 1))
    batch = images, tf.range(settings.batch_size) % CLASSES
    sides = {"trainer": trainers_step(settings, spec, batch), "bare": bare_step(settings, spec, batch)}
    times = report.alternate(sides, rounds)
    trainer, bare = (min(times[name]) for name in ("trainer", "bare"))
    what = f"{settings.model}, batch {settings.batch_size}, {spec.size[0]} x {spec.size[1]}, {settings.precision}"
    return [{"what": what, "trainer_s": trainer, "bare_s": bare, "ratio": trainer / bare, "budget": 1.1}]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="a model's name (default: the quickstart's small Swin)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--csv", help="where to write the rows as well")
    arguments = parser.parse_args()
    settings = recipe.load("quickstart").replace(
        xla=True, batch_size=arguments.batch_size, precision=arguments.precision
    )
    if arguments.model:
        settings = settings.replace(model=arguments.model, img_size=None)
    print(report.machine())
    rows = measure(settings, arguments.rounds)
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
