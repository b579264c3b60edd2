"""Which pictures a step sees, and which of them a worker takes: functions of the seed and the step's number alone.

A picture's global position counts the pictures of all steps before it. What is drawn for a picture is decided by the
seed and this position, so that neither an interruption nor the number of workers, replicas or accumulated steps
changes what is learned from.
Letters: B batch, pictures of a step over all workers, replicas and accumulated steps; R copies of a picture.
"""

from typing import NamedTuple


class Worker(NamedTuple):
    """A worker among those that train together: its number, how many there are, how many replicas (devices) it has."""

    index: int = 0
    count: int = 1
    replicas: int = 1


def share_of(batch_size, worker, grad_accum_steps=1):
    """Pictures that a replica takes at once. ValueError if the batch cannot be divided so."""
    parts = worker.count * worker.replicas * grad_accum_steps
    if batch_size % parts:
        raise ValueError(
            f"batch_size={batch_size} cannot be divided among {worker.count} workers x {worker.replicas} replicas x "
            f"grad_accum_steps={grad_accum_steps}; give a multiple of {parts}."
        )
    return batch_size // parts


def check(recipe, total, batch_size, share):
    """ValueError where `total` pictures fill no batch, or copies or pairs of pictures cannot be placed in one."""
    mixed = recipe.mixup > 0 or recipe.cutmix > 0
    if total < batch_size:
        raise ValueError(f"{total} training pictures do not fill a batch of {batch_size}; give a smaller batch_size.")
    if mixed and share % 2:
        raise ValueError(
            f"MixUp and CutMix mix pairs of pictures on one device, which takes {share} at a time, an odd number; "
            f"give batch_size={batch_size + batch_size // share}, or another multiple of {2 * batch_size // share}."
        )
    if mixed and batch_size <= recipe.aug_repeats:
        raise ValueError(
            f"With aug_repeats={recipe.aug_repeats}, a batch of {batch_size} holds a single picture, which MixUp and "
            "CutMix would mix with itself; give a larger batch_size."
        )


def training_order(recipe, total, batch_size, start_step, mine, share):
    """The order of the training part's pictures, from a step to the recipe's last.

    An epoch shuffles all pictures and has total // B steps. Each takes the next B / R pictures, R times over: copies
    stand B / R apart (repeated augmentation; Hoffer et al., "Augment your batch", arXiv:1901.09335, Sec. 3, as DeiT
    uses it, arXiv:2012.12877, Sec. 6, where an epoch sees 1 / R of the pictures). Where R does not divide B, as DeiT's
    3 does not 1,024, B / R is rounded up and the last few pictures have a copy less.

    Args:
        mine: the slice of each step's batch that is wanted.
        share: pictures per element; divides that slice.
    Output: a tf.data.Dataset of (numbers of pictures, global positions), both int64 (share,).
    """
    import tensorflow as tf

    steps, distinct = total // batch_size, -(-batch_size // recipe.aug_repeats)

    def epoch(number):
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), number])
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(total, dtype=tf.int64), seed, alg="philox")
        numbers = tf.tile(tf.reshape(shuffled[: steps * distinct], (steps, distinct)), (1, recipe.aug_repeats))
        numbers = numbers[:, :batch_size]
        positions = tf.reshape(tf.range(steps * batch_size, dtype=tf.int64), (steps, batch_size))
        positions += number * steps * batch_size
        done = tf.maximum(start_step - number * steps, 0)
        wanted = (tf.reshape(values[done:, mine], (-1, share)) for values in (numbers, positions))
        return tf.data.Dataset.from_tensor_slices(tuple(wanted))

    return tf.data.Dataset.range(start_step // steps, recipe.epochs).flat_map(epoch)
