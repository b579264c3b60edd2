"""From the parts of a data set to batches: decoding, caching, order, augmentation, exact evaluation.

Pictures that fit in the cache are decoded once and kept as uint8; others are decoded every epoch, after one pass
that finds those that cannot be. The order of an epoch and the draws of a step are functions of the seed and of the
epoch's and step's numbers, so that a resumed run continues with the very pictures it would have seen.
Letters: B batch, H W grid.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from keras_vit import preprocessing
from keras_vit.training import augment, crop, digits, folders
from keras_vit.training.parts import Part

PICTURE_STREAM = 0x91C7  # keeps the draws of a picture apart from those of the order


@dataclass(frozen=True)
class Prepared:
    """A part whose pictures are known to be readable."""

    part: Part
    spec: preprocessing.Spec
    cache: np.ndarray | None  # uint8 (len(part), H, W, 3), or None: decode every epoch
    bad: tuple[tuple[str, str], ...] = ()  # (file, reason) of those left out


def load(recipe):
    """The recipe's data set: the embedded digits, or the folder of class folders at data_dir."""
    if recipe.dataset == "digits":
        return digits.load()
    if recipe.data_dir is None:
        raise ValueError('dataset="folder" needs data_dir, a folder of class folders.')
    return folders.load(recipe.data_dir, recipe.seed)


def prepare(part, spec, *, max_bad_fraction=0.0, cache_bytes=0):
    """Decode every picture once: cache what fits, and leave out and name what cannot be decoded.

    Raises: ValueError naming the pictures, if they are more than `max_bad_fraction` of the part.
    """
    size = len(part) * spec.size[0] * spec.size[1] * 3
    cache = np.empty((len(part), *spec.size, 3), "uint8") if size <= cache_bytes else None
    good = []
    for index, image in _readable(part, spec):
        good.append(int(index))
        if cache is not None:
            cache[index] = image
    bad = sorted(set(range(len(part))) - set(good))
    reasons = tuple((part.names[i], _reason(part, i)) for i in bad)
    if len(bad) > max_bad_fraction * len(part):
        raise BadPictures(reasons, len(part), max_bad_fraction)
    if bad:
        part, cache = part.take(good), None if cache is None else cache[good]
    return Prepared(part, spec, cache, reasons)


class BadPictures(ValueError):
    """Too many pictures cannot be decoded; `bad` lists (file, reason)."""

    def __init__(self, bad, total, allowed):
        self.bad = bad
        shown = "\n".join(f"  {name}: {reason}" for name, reason in bad[:5])
        more = f"\n  and {len(bad) - 5} more" if len(bad) > 5 else ""
        super().__init__(
            f"{len(bad)} of {total} pictures cannot be decoded, more than max_bad_fraction="
            f"{allowed:g} allows:\n{shown}{more}\nRepair or remove them, or raise max_bad_fraction."
        )


class Worker(NamedTuple):
    """A worker among those that train together: its number, their number, the replicas (devices) it has."""

    index: int = 0
    count: int = 1
    replicas: int = 1


def training_batches(prepared, recipe, batch_size, start_step=0, worker=Worker()):
    """What `worker` is to train on, from step `start_step` to the recipe's last.

    An epoch has len(part) // batch_size steps: what is left of its shuffled order is left out, another each time.
    The batch of a step is divided in order: among the workers, then among accumulated steps, then among replicas.

    Args:
        batch_size: B, pictures of a step over all workers, replicas and accumulated steps.
    Output: a tf.data.Dataset of training batches of share = B / (workers x replicas x accumulated steps) pictures:
        images float32 (share, H, W, 3), labels int32 (share,), partners int32 (share,), weights float32 (share,), as
        `augment.augment_batch` gives them.
    Raises: ValueError if the batch cannot be divided so.
    """
    import tensorflow as tf

    parts = worker.replicas * recipe.grad_accum_steps
    share = _share(batch_size, worker, recipe.grad_accum_steps)
    _check_order(recipe, len(prepared.part), batch_size, share)
    first = worker.index * parts * share

    def finish(number, batch):
        step, offset = start_step + number // parts, first + number % parts * share
        return augment.augment_batch(*batch, recipe, prepared.spec, step, offset, batch_size)

    order = _order(recipe, len(prepared.part), batch_size, start_step, slice(first, first + parts * share))
    batches = _pictures(prepared, order, share, recipe).enumerate()
    batches = batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(2).with_options(_options())


def evaluation_batches(prepared, batch_size, worker=Worker()):
    """What `worker` is to judge: every picture once, with weight 1, over all workers and replicas together.

    The last batches are filled up with pictures of weight 0, so that all are of one size, and all workers and replicas
    have as many.

    Args:
        batch_size: B, pictures of a step over all workers and replicas.
    Output: a tf.data.Dataset of (images (share, H, W, 3), labels (share,), weights (share,)), where share =
        B / (workers x replicas).
    """
    import tensorflow as tf

    share, total = _share(batch_size, worker), len(prepared.part)
    positions = np.arange(-(-total // batch_size) * batch_size).reshape(-1, worker.count, share * worker.replicas)
    positions = positions[:, worker.index].ravel()
    weights = tf.data.Dataset.from_tensor_slices((positions < total).astype("float32"))

    def finish(batch, weight):
        images, labels = batch
        return preprocessing.normalize(images, prepared.spec), labels, weight

    order = tf.data.Dataset.from_tensor_slices((positions % total, positions))
    batches = tf.data.Dataset.zip(_pictures(prepared, order, share), weights.batch(share, drop_remainder=True))
    return batches.map(finish).prefetch(2).with_options(_options())


def _share(batch_size, worker, grad_accum_steps=1):
    """Pictures that a replica takes at once."""
    parts = worker.count * worker.replicas * grad_accum_steps
    if batch_size % parts:
        raise ValueError(
            f"batch_size={batch_size} cannot be divided among {worker.count} workers x {worker.replicas} replicas x "
            f"grad_accum_steps={grad_accum_steps}; give a multiple of {parts}."
        )
    return batch_size // parts


def _check_order(recipe, total, batch_size, share):
    """ValueError where there is no whole step, or copies or pairs of pictures cannot be placed in a batch."""
    distinct = batch_size // recipe.aug_repeats
    mixed = recipe.mixup > 0 or recipe.cutmix > 0
    if total < batch_size:
        raise ValueError(f"{total} training pictures do not fill a batch of {batch_size}; give a smaller batch_size.")
    if batch_size % recipe.aug_repeats:
        raise ValueError(f"batch_size={batch_size} must be a multiple of aug_repeats={recipe.aug_repeats}.")
    if mixed and share % 2:
        raise ValueError(
            f"MixUp and CutMix mix pairs of pictures on one device, which takes {share} at a time, an odd number; "
            f"give batch_size={batch_size + batch_size // share}, or another multiple of {2 * batch_size // share}."
        )
    if mixed and distinct < 2:
        raise ValueError(
            f"With aug_repeats={recipe.aug_repeats}, a batch of {batch_size} holds a single picture, which MixUp and "
            "CutMix would mix with itself; give a larger batch_size."
        )


def _order(recipe, total, batch_size, start_step, mine):
    """A tf.data.Dataset of (number of a picture, its global position), from a step on.

    A global position counts the pictures of all steps before. An epoch shuffles all pictures, and a step takes the
    next B / aug_repeats of them; their copies stand that far apart.

    Args:
        mine: the slice of each step's batch that is wanted.
    """
    import tensorflow as tf

    steps, distinct = total // batch_size, batch_size // recipe.aug_repeats

    def epoch(number):
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), number])
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(total, dtype=tf.int64), seed, alg="philox")
        pictures = tf.tile(tf.reshape(shuffled[: steps * distinct], (steps, distinct)), (1, recipe.aug_repeats))
        positions = tf.reshape(tf.range(steps * batch_size, dtype=tf.int64), (steps, batch_size))
        positions += number * steps * batch_size
        done = tf.maximum(start_step - number * steps, 0)
        chosen = (tf.reshape(values[done:, mine], (-1,)) for values in (pictures, positions))
        return tf.data.Dataset.from_tensor_slices(tuple(chosen))

    return tf.data.Dataset.range(start_step // steps, recipe.epochs).flat_map(epoch)


def _pictures(prepared, order, size, recipe=None):
    """Batches of (uint8 images, labels) for a dataset of (number of a picture, global position).

    With a recipe, what it changes picture by picture is done; its seed and the global position decide the draws.
    """
    import tensorflow as tf

    alone = recipe is not None and augment.changes_pictures(recipe)
    cached = prepared.cache is not None and (recipe is None or recipe.scale is None)
    with tf.device("CPU:0"):
        labels = tf.constant(prepared.part.labels, tf.int32)
        if cached:
            cache = tf.constant(prepared.cache)
            if not alone:
                batches = order.batch(size, drop_remainder=True)
                return batches.map(lambda i, _: (tf.gather(cache, i), tf.gather(labels, i)))
        source = tf.constant(_source(prepared.part))
    decode = _decoder(prepared.part, prepared.spec, recipe)

    def picture(index, position):
        seed = tf.stack([tf.constant(0 if recipe is None else recipe.seed ^ PICTURE_STREAM, tf.int64), position])
        image = cache[index] if cached else decode(source[index], seed)
        image = augment.augment_picture(image, recipe, seed) if alone else image
        return image, labels[index]

    return order.map(picture, num_parallel_calls=tf.data.AUTOTUNE).batch(size, drop_remainder=True)


def _readable(part, spec):
    """(index, uint8 picture) of every picture that can be decoded, as numpy."""
    import tensorflow as tf

    decode = _decoder(part, spec)
    items = tf.data.Dataset.from_tensor_slices((np.arange(len(part)), _source(part)))
    items = items.map(lambda i, s: (i, decode(s, None)), num_parallel_calls=tf.data.AUTOTUNE)
    return items.ignore_errors().prefetch(8).as_numpy_iterator()


def _source(part):
    """What the decoder takes: paths, or encoded pictures."""
    return np.array(part.names if part.encoded is None else part.encoded, dtype=object)


def _decoder(part, spec, recipe=None):
    """A function (source, seed) -> uint8 (H, W, 3): a random crop where the recipe has one, which the seed decides."""
    import tensorflow as tf

    def decode(source, seed):
        encoded = tf.io.read_file(source) if part.encoded is None else source
        if recipe is not None and recipe.scale is not None:
            return crop.decode_and_crop(encoded, spec, recipe, seed)
        image = preprocessing.resize(preprocessing.decode_image(encoded), spec)
        return tf.cast(image, tf.uint8)

    return decode


def _reason(part, index):
    """Why a picture cannot be read, in PIL's words."""
    if part.encoded is not None:
        return "cannot be decoded"
    try:
        preprocessing.read_image(part.names[index])
    except (ValueError, OSError) as error:
        return " ".join(str(error).split())
    return "TensorFlow cannot decode it, though PIL can; save it again as PNG or JPEG"


def _options():
    """Order as written, and no sharding by file: the strategy divides each batch among the devices."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
