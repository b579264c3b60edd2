"""Which images a step trains on, and which of them a worker takes: functions of the seed and the step alone.

An image's global position counts the images of all steps before it. The random draws of an image depend on the seed and
this position only. So neither an interruption nor the number of workers, replicas or accumulated steps changes what a
run trains on.
Letters: B batch, the images of a step over all workers, replicas and accumulated steps; R copies of an image.
"""

from typing import NamedTuple

import numpy as np


class Worker(NamedTuple):
    """One of the workers that train together: its index, their number, and its number of replicas (devices)."""

    index: int = 0
    count: int = 1
    replicas: int = 1


def micro_batch_size(batch_size, worker, grad_accum_steps=1):
    """The number of images that a replica processes at once.

    Raises:
        ValueError: if the batch cannot be divided equally.
    """
    micro_batches = worker.count * worker.replicas * grad_accum_steps
    if batch_size % micro_batches:
        raise ValueError(
            f"batch_size={batch_size} cannot be divided among {worker.count} workers x {worker.replicas} replicas x "
            f"grad_accum_steps={grad_accum_steps}; give a multiple of {micro_batches}."
        )
    return batch_size // micro_batches


def check_batch_size(recipe, total, batch_size, micro_batch_size):
    """Check that batches can be formed of a train split of `total` images.

    Raises:
        ValueError: if the images do not fill a batch, or if MixUp and CutMix cannot form pairs of different images.
    """
    mixed = recipe.mixup > 0 or recipe.cutmix > 0
    if total < batch_size:
        raise ValueError(f"{total} training images do not fill a batch of {batch_size}; give a smaller batch_size.")
    if mixed and micro_batch_size % 2:
        micro_batches = batch_size // micro_batch_size
        raise ValueError(
            f"MixUp and CutMix mix pairs of images on one device, which takes {micro_batch_size} at a time, an odd "
            f"number; give batch_size={batch_size + micro_batches}, or another multiple of {2 * micro_batches}."
        )
    if mixed and batch_size <= recipe.aug_repeats:
        raise ValueError(
            f"With aug_repeats={recipe.aug_repeats}, a batch of {batch_size} holds a single image, which MixUp and "
            "CutMix would mix with itself; give a larger batch_size."
        )


def training_order(recipe, total, batch_size, start_step, worker_slice, micro_batch_size, chosen=None):
    """The order of the images of the train split, from a step to the recipe's last.

    An epoch shuffles all images and has total // B steps. Each step takes the next B / R images, R times each: copies
    are B / R apart (repeated augmentation; Hoffer et al., "Augment your batch", arXiv:1901.09335, Sec. 3, as DeiT
    uses it, arXiv:2012.12877, Sec. 6, where an epoch uses 1 / R of the images). If R does not divide B, as DeiT's
    3 does not divide 1,024, B / R is rounded up and the last few images have one copy less.

    Args:
        total: number of images of the split.
        start_step: first step, counted over all epochs.
        worker_slice: slice of each step's batch to return.
        micro_batch_size: images per element; divides the length of that slice.
        chosen: numbers of steps, ascending; the other steps are left out. None for all.
    Returns:
        A tf.data.Dataset of (indices of images, global positions), both int64 (micro_batch_size,).
    """
    import tensorflow as tf

    steps, distinct = total // batch_size, -(-batch_size // recipe.aug_repeats)
    epochs = np.arange(start_step // steps, recipe.epochs)
    if chosen is not None:
        chosen = chosen[np.searchsorted(chosen, start_step) :]
        epochs = np.unique(chosen // steps)  # the others need not be shuffled

    def epoch(number):
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), number])
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(total, dtype=tf.int64), seed, alg="philox")
        indices = tf.tile(tf.reshape(shuffled[: steps * distinct], (steps, distinct)), (1, recipe.aug_repeats))
        indices = indices[:, :batch_size]
        positions = tf.reshape(tf.range(steps * batch_size, dtype=tf.int64), (steps, batch_size))
        positions += number * steps * batch_size
        taken = slice(tf.maximum(start_step - number * steps, 0), None)
        if chosen is not None:
            limits = tf.stack([number, number + 1]) * steps
            first, end = tf.unstack(tf.searchsorted(chosen, limits))
            rows = tf.constant(chosen)[first:end] - limits[0]
            indices, positions, taken = tf.gather(indices, rows), tf.gather(positions, rows), slice(None)
        micro_batches = (
            tf.reshape(values[taken, worker_slice], (-1, micro_batch_size)) for values in (indices, positions)
        )
        return tf.data.Dataset.from_tensor_slices(tuple(micro_batches))

    return tf.data.Dataset.from_tensor_slices(epochs).flat_map(epoch)
