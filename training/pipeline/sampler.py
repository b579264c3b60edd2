"""Which images a step trains on, and which of them a worker takes: functions of the seed and the step alone.

An image's global position counts the images of all steps before it. The random draws of an image depend on the seed and
this position only. So neither an interruption nor the number of workers, replicas or accumulated steps changes what a
run trains on.
Letters: B batch, the images of a step over all workers, replicas and accumulated steps; R copies of an image.
"""

from typing import NamedTuple

import numpy as np

DRAWS = 0xD2A7  # separates the draws of classes from the shuffling


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


def draw_weights(kind, split):
    """How often an epoch draws each image, relatively, for `sampler=kind`: (groups int32 (N,), weights float64 (N,)).

    "balanced" draws every class as often, "sqrt" a class of n images in proportion to the square root of n (Mahajan et
    al., arXiv:1805.00932, Sec. 2.2). Of several labels the rarest is an image's group; images without any are one more.

    Args:
        split: a splits.Split.
    Returns:
        None for "shuffle", which draws each image once.
    """
    if kind == "shuffle":
        return None
    groups = split.labels
    if split.multi_label:
        counts = split.labels.sum(0, dtype="int64")
        rarest = np.where(split.labels > 0, counts, np.iinfo("int64").max).argmin(1)
        groups = np.where(split.labels.any(1), rarest, len(counts))
    images = np.bincount(groups)[groups]
    return groups.astype("int32"), images ** (-1.0 if kind == "balanced" else -0.5)


def training_order(recipe, total, batch_size, start_step, worker_slice, micro_batch_size, chosen=None, drawn=None):
    """The order of the images of the train split, from a step to the recipe's last.

    An epoch shuffles all images, or draws as many (`draw_weights`), and has total // B steps. Each step takes the next
    B / R images, R times each: copies are B / R apart (repeated augmentation; Hoffer et al., "Augment your batch",
    arXiv:1901.09335, Sec. 3, as DeiT uses it, arXiv:2012.12877, Sec. 6, where an epoch uses 1 / R of the images). If R
    does not divide B, as DeiT's 3 does not divide 1,024, B / R is rounded up and the last images have one copy less.

    Args:
        total: number of images of the split.
        start_step: first step, counted over all epochs.
        worker_slice: slice of each step's batch to return.
        micro_batch_size: images per element; divides the length of that slice.
        chosen: numbers of steps, ascending; the other steps are left out. None for all.
        drawn: what `draw_weights` returns.
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
        images = tf.range(total, dtype=tf.int64)
        if drawn is not None:
            apart = tf.stack([tf.constant(recipe.seed ^ DRAWS, tf.int64), number])
            images = _draw(tf.random.experimental.stateless_shuffle(images, apart, alg="philox"), *drawn, apart)
        shuffled = tf.random.experimental.stateless_shuffle(images, seed, alg="philox")
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


def _draw(shuffled, groups, weights, seed):
    """Draw as many images as there are, each in proportion to its weight.

    Systematic: the images, group by group and shuffled inside, lie side by side, as wide as their weights, and every
    N-th part of the whole length draws the image at one point. So the draws of a group, and of an image, differ by less
    than one from their share.

    Args:
        shuffled: indices of the images in random order, int64 (N,).
        groups: int32 (N,).
        weights: float64 (N,).
        seed: two int64.
    Returns:
        Indices of the images that are drawn, int64 (N,).
    """
    import tensorflow as tf

    ordered = tf.gather(shuffled, tf.argsort(tf.gather(groups, shuffled), stable=True))
    ends, total = tf.cumsum(tf.gather(weights, ordered)), shuffled.shape[0]
    offset = tf.random.stateless_uniform((), seed, dtype=tf.float64, alg="philox")
    points = (tf.range(total, dtype=tf.float64) + offset) / total * ends[-1]
    return tf.gather(ordered, tf.minimum(tf.searchsorted(ends, points, side="right"), total - 1))
