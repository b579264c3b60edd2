"""From a split to batches: caching, decoding, augmentation, evaluation of every image exactly once.

Images that fit into the cache are decoded once and kept as uint8; others, and all that are randomly cropped, are
decoded every epoch.
Letters: B batch, H W grid, M micro-batch.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_vit import preprocessing
from keras_vit.system.graphs import without_autograph
from keras_vit.training.augmentation import augment
from keras_vit.training.datasets.splits import Split
from keras_vit.training.pipeline import decoding, sampler
from keras_vit.training.pipeline.bad_images import Quarantine
from keras_vit.training.pipeline.sampler import Worker

PARALLEL = 4  # batches that are read at a time, each up to 16 images at a time


@dataclass(frozen=True)
class Prepared:
    """A split, ready to be read."""

    split: Split
    spec: preprocessing.Spec
    cache: Any  # uint8 tensor (len(split), H, W, 3), or None: decode every epoch
    quarantine: Quarantine

    @property
    def bad(self):
        """(file, reason) of the images known to be bad; without a cache, reading may find more."""
        return self.quarantine.bad

    @property
    def replaced(self):
        """As `bad`, with the name of the image that replaces it in training in the reason."""
        return self.quarantine.replaced

    def at(self, size):
        """The same split for images of another size (H, W), in memory if this one is; both have one quarantine."""
        if tuple(size) == tuple(self.spec.size):
            return self
        spec = dataclasses.replace(self.spec, size=tuple(size))
        cache = _decoded(self.split, spec, self.quarantine) if self.cached else None
        return Prepared(self.split, spec, cache, self.quarantine)

    @property
    def cached(self):
        """Whether the images are in memory."""
        return self.cache is not None


@without_autograph
def prepare(split, spec, *, max_bad_fraction=0.0, cache_bytes=0):
    """Decode all images once and cache them, if they fit into `cache_bytes`; else nothing is read yet.

    Returns:
        A Prepared.
    Raises:
        TooManyBadImages: if more than `max_bad_fraction` of the split cannot be decoded; lists them.
    """
    quarantine = Quarantine(split, max_bad_fraction)
    if len(split) * spec.size[0] * spec.size[1] * 3 > cache_bytes:
        return Prepared(split, spec, None, quarantine)
    return Prepared(split, spec, _decoded(split, spec, quarantine), quarantine)


def _decoded(split, spec, quarantine):
    """All images of a split, uint8 (N, H, W, 3); those that cannot be decoded are black, and in the quarantine."""
    import tensorflow as tf

    cache = np.zeros((len(split), *spec.size, 3), "uint8")
    good = np.zeros(len(split), bool)
    for decode in decoding.decoders(split, spec):  # the second for those that TensorFlow refused
        images = tf.data.Dataset.from_tensor_slices(np.flatnonzero(~good))
        images = images.map(lambda i, decode=decode: (i, decode(i, i)), num_parallel_calls=tf.data.AUTOTUNE)
        for index, image in images.ignore_errors().prefetch(8).as_numpy_iterator():
            cache[index], good[index] = image, True
        if good.all():
            break
    quarantine.record_all(np.flatnonzero(~good))
    with tf.device("CPU:0"):
        return tf.constant(cache)


@without_autograph
def training_batches(prepared, recipe, batch_size, start_step=0, worker=Worker(), chosen=None):
    """The micro-batches that `worker` trains on, from step `start_step` to the recipe's last.

    An epoch has len(split) // B steps; the images at the end of its shuffled order that do not fill a batch are left
    out. The batch of a step is divided in order: among the workers, then the accumulated steps, then the replicas.

    Args:
        batch_size: B, images of a step over all workers, replicas and accumulated steps.
        chosen: numbers of steps, ascending: only these, of the steps from `start_step` on. None for all.
    Returns:
        A tf.data.Dataset of micro-batches of M = B / (workers x replicas x accumulated steps) images: images float32
        (M, H, W, 3), labels int32 (M,), or of several labels per image (M, K), partners as labels, weights float32
        (M,); see `augment.augment_batch`.
    Raises:
        ValueError: if the batch cannot be divided so.
    """
    import tensorflow as tf

    micro_batches = worker.replicas * recipe.grad_accum_steps  # per step, of this worker
    size = sampler.micro_batch_size(batch_size, worker, recipe.grad_accum_steps)
    sampler.check_batch_size(recipe, len(prepared.split), batch_size, size)
    first = worker.index * micro_batches * size

    def augment_micro_batch(images, labels, _, positions):
        step, offset = positions[0] // batch_size, positions[0] % batch_size
        return augment.augment_batch(images, labels, recipe, prepared.spec, step, offset, batch_size)

    worker_slice = slice(first, first + micro_batches * size)
    drawn = sampler.draw_weights(recipe.sampler, prepared.split)
    total = len(prepared.split)
    order = sampler.training_order(recipe, total, batch_size, start_step, worker_slice, size, chosen, drawn)
    batches = _decoded_batches(prepared, order, recipe)
    batches = batches.map(augment_micro_batch, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(2).with_options(_options())


@without_autograph
def evaluation_batches(prepared, batch_size, worker=Worker()):
    """The batches that `worker` evaluates: over all workers and replicas, every image once with weight 1.

    The last batches are padded with images of weight 0, so that all have one size, and all workers and replicas have
    the same number. Images that cannot be decoded have weight 0 too.

    Args:
        batch_size: B, images of a step over all workers and replicas.
    Returns:
        A tf.data.Dataset of (images float32 (M, H, W, 3), labels int32 (M,) or (M, K), weights float32 (M,)), where
        M = B / (workers x replicas).
    """
    import tensorflow as tf

    size, total = sampler.micro_batch_size(batch_size, worker), len(prepared.split)
    positions = np.arange(-(-total // batch_size) * batch_size).reshape(-1, worker.count, worker.replicas, size)
    positions = positions[:, worker.index].reshape(-1, size)
    not_padding = tf.data.Dataset.from_tensor_slices((positions < total).astype("float32"))

    def normalize(batch, not_padding):
        images, labels, not_replaced, _ = batch
        return preprocessing.normalize(images, prepared.spec), labels, not_padding * not_replaced

    order = tf.data.Dataset.from_tensor_slices((positions % total, positions))
    batches = tf.data.Dataset.zip(_decoded_batches(prepared, order), not_padding)
    return batches.map(normalize).prefetch(2).with_options(_options())


def _decoded_batches(prepared, order, recipe=None):
    """A tf.data.Dataset of uint8 images, labels, 0.0 for the replacement of a bad image, else 1.0, global positions.

    Args:
        order: tf.data.Dataset of (indices of images, global positions).
        recipe: None prepares images as for evaluation.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        labels = tf.constant(prepared.split.labels, tf.int32)
        index_map = tf.constant(prepared.quarantine.index_map())
    read = _batch_reader(prepared, recipe)

    def decode(indices, positions):
        images, found = read(tf.gather(index_map, indices), positions)
        return images, tf.gather(labels, found), tf.cast(found == indices, tf.float32), positions

    return order.map(decode, num_parallel_calls=PARALLEL)


def _batch_reader(prepared, recipe):
    """A function (indices, positions) -> (uint8 images, indices of these images), from the cache if possible."""
    import tensorflow as tf

    def from_cache(index, _):
        return tf.gather(prepared.cache, index)

    cached = prepared.cached and (recipe is None or recipe.scale is None)
    if cached and (recipe is None or not augment.changes_images(recipe)):
        return lambda indices, positions: (from_cache(indices, positions), indices)
    split, spec, augmenter = prepared.split, prepared.spec, decoding.augmenter(recipe)
    decoders = (from_cache, from_cache) if cached else decoding.decoders(split, spec, recipe)
    return decoding.batch_reader(*decoders, augmenter, prepared.quarantine, spec.size)


def _options():
    """Deterministic order, and no sharding by file: the batches are already divided among the workers."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
