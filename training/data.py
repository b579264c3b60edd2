"""From a data set to batches: sources, caching, decoding, augmentation, exact evaluation.

Pictures that fit in the cache are decoded once and kept as uint8; others, and all that are randomly cropped, are
decoded every epoch.
Letters: B batch, H W grid.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_vit import preprocessing
from keras_vit.training import augment, decoding, digits, folders, manifest, order, shards, tfds
from keras_vit.training.order import Worker
from keras_vit.training.parts import Part
from keras_vit.training.quarantine import Quarantine

PARALLEL = 4  # batches that are read at a time, each up to 16 pictures at a time
DATA_DIR = {
    "folder": "a folder of class folders",
    "csv": "the path of a manifest with the columns path,label",
    "records": "a folder that `keras-vit prepare-data` wrote",
}


@dataclass(frozen=True)
class Prepared:
    """A part, ready to be read."""

    part: Part
    spec: preprocessing.Spec
    cache: Any  # uint8 tensor (len(part), H, W, 3), or None: decode every epoch
    quarantine: Quarantine

    @property
    def bad(self):
        """(file, reason) of the pictures known to be bad; without a cache, more may be met."""
        return self.quarantine.bad

    @property
    def replaced(self):
        """As `bad`, the reason with the name of the picture that training shows instead."""
        return self.quarantine.replaced


def load(recipe):
    """The data set that `dataset`, `data_dir` and the splits of the recipe name; its pictures are not read.

    Raises: ValueError for a source that is not there, or not as its module says.
    """
    if recipe.dataset == "digits":
        return digits.load()
    if recipe.dataset.startswith("tfds/"):
        name = recipe.dataset.removeprefix("tfds/")
        return tfds.load(name, recipe.data_dir, recipe.train_split, recipe.val_split)
    if recipe.data_dir is None:
        raise ValueError(f"dataset={recipe.dataset!r} needs data_dir: {DATA_DIR[recipe.dataset]}.")
    if recipe.dataset == "records":
        return shards.load(recipe.data_dir)
    return {"folder": folders, "csv": manifest}[recipe.dataset].load(recipe.data_dir, recipe.seed)


def prepare(part, spec, *, max_bad_fraction=0.0, cache_bytes=0):
    """Decode all pictures once and cache them, if they fit into `cache_bytes`; else nothing is read yet.

    Raises: BadPictures, a ValueError naming them, if more than `max_bad_fraction` of the part cannot be decoded.
    """
    import tensorflow as tf

    quarantine = Quarantine(part, max_bad_fraction)
    if len(part) * spec.size[0] * spec.size[1] * 3 > cache_bytes:
        return Prepared(part, spec, None, quarantine)
    cache = np.zeros((len(part), *spec.size, 3), "uint8")
    good = np.zeros(len(part), bool)
    decode = decoding.decoder(part, spec)
    pictures = tf.data.Dataset.range(len(part)).map(lambda i: (i, decode(i, i)), num_parallel_calls=tf.data.AUTOTUNE)
    for number, image in pictures.ignore_errors().prefetch(8).as_numpy_iterator():
        cache[number], good[number] = image, True
    quarantine.note_all(np.flatnonzero(~good))
    with tf.device("CPU:0"):
        return Prepared(part, spec, tf.constant(cache), quarantine)


def training_batches(prepared, recipe, batch_size, start_step=0, worker=Worker()):
    """What `worker` is to train on, from step `start_step` to the recipe's last.

    An epoch has len(part) // B steps: what is left of its shuffled order is left out, another each time. The batch of
    a step is divided in order: among the workers, then the accumulated steps, then the replicas.

    Args:
        batch_size: B, pictures of a step over all workers, replicas and accumulated steps.
    Output: a tf.data.Dataset of training batches of share = B / (workers x replicas x accumulated steps) pictures:
        images float32 (share, H, W, 3), labels int32 (share,), partners int32 (share,), weights float32 (share,), as
        `augment.augment_batch` gives them.
    Raises: ValueError if the batch cannot be divided so.
    """
    import tensorflow as tf

    parts = worker.replicas * recipe.grad_accum_steps
    share = order.share_of(batch_size, worker, recipe.grad_accum_steps)
    order.check(recipe, len(prepared.part), batch_size, share)
    first = worker.index * parts * share

    def finish(number, batch):
        images, labels, _ = batch
        step, offset = start_step + number // parts, first + number % parts * share
        return augment.augment_batch(images, labels, recipe, prepared.spec, step, offset, batch_size)

    mine = slice(first, first + parts * share)
    wanted = order.training_order(recipe, len(prepared.part), batch_size, start_step, mine, share)
    batches = _pictures(prepared, wanted, recipe).enumerate()
    batches = batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(2).with_options(_options())


def evaluation_batches(prepared, batch_size, worker=Worker()):
    """What `worker` is to judge: every picture once, with weight 1, over all workers and replicas together.

    The last batches are filled up with pictures of weight 0, so that all are of one size, and all workers and replicas
    have as many. What cannot be decoded has weight 0 too.

    Args:
        batch_size: B, pictures of a step over all workers and replicas.
    Output: a tf.data.Dataset of (images float32 (share, H, W, 3), labels int32 (share,), weights float32 (share,)),
        where share = B / (workers x replicas).
    """
    import tensorflow as tf

    share, total = order.share_of(batch_size, worker), len(prepared.part)
    positions = np.arange(-(-total // batch_size) * batch_size).reshape(-1, worker.count, worker.replicas, share)
    positions = positions[:, worker.index].reshape(-1, share)
    counted = tf.data.Dataset.from_tensor_slices((positions < total).astype("float32"))

    def finish(batch, counted):
        images, labels, own = batch
        return preprocessing.normalize(images, prepared.spec), labels, counted * own

    wanted = tf.data.Dataset.from_tensor_slices((positions % total, positions))
    batches = tf.data.Dataset.zip(_pictures(prepared, wanted), counted)
    return batches.map(finish).prefetch(2).with_options(_options())


def _pictures(prepared, wanted, recipe=None):
    """Batches of uint8 images, labels, and 1.0 or, for what is shown in place of a bad picture, 0.0.

    Args:
        wanted: a tf.data.Dataset of (numbers of pictures, global positions).
        recipe: None prepares pictures as evaluation does.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        labels = tf.constant(prepared.part.labels, tf.int32)
        known = tf.constant(prepared.quarantine.shown())
    read = _reader(prepared, recipe)

    def pictures(numbers, positions):
        images, shown = read(tf.gather(known, numbers), positions)
        return images, tf.gather(labels, shown), tf.cast(shown == numbers, tf.float32)

    return wanted.map(pictures, num_parallel_calls=PARALLEL)


def _reader(prepared, recipe):
    """A function (numbers, positions) -> (uint8 images, numbers of the pictures shown)."""
    import tensorflow as tf

    def from_cache(number, _):
        return tf.gather(prepared.cache, number)

    cached = prepared.cache is not None and (recipe is None or recipe.scale is None)
    if cached and (recipe is None or not augment.changes_pictures(recipe)):
        return lambda numbers, positions: (from_cache(numbers, positions), numbers)
    decode = from_cache if cached else decoding.decoder(prepared.part, prepared.spec, recipe)
    return decoding.batch_reader(decode, decoding.changer(recipe), prepared.quarantine, prepared.spec.size)


def _options():
    """Order as written, and no sharding by file: batches are divided already, or are by the strategy."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
