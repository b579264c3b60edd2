"""From the parts of a data set to batches: decoding, caching, order, augmentation, exact evaluation.

Pictures that fit in the cache are decoded once and kept as uint8; others are decoded every epoch, after one pass
that finds those that cannot be. The order of an epoch and the draws of a step are functions of the seed and of the
epoch's and step's numbers, so that a resumed run continues with the very pictures it would have seen.
Letters: B batch, H W grid.
"""

from dataclasses import dataclass

import numpy as np

from keras_vit import preprocessing
from keras_vit.training import digits, folders
from keras_vit.training.augment import augment
from keras_vit.training.parts import Part

AUGMENTATION_STREAM = 0x5EED  # keeps the draws of the augmentation apart from the shuffling's


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


def training_batches(prepared, recipe, batch_size, start_epoch=0):
    """A tf.data.Dataset of (images (B, H, W, 3), labels (B,)) from `start_epoch` to the recipe's last.

    An epoch has len(part) // batch_size steps: what is left of its shuffled order is left out, another each time.
    """
    import tensorflow as tf

    total, steps = len(prepared.part), len(prepared.part) // batch_size

    def order(epoch):
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), epoch])
        indices = tf.random.experimental.stateless_shuffle(tf.range(total), seed, alg="philox")
        return tf.data.Dataset.from_tensor_slices(indices[: steps * batch_size])

    def finish(step, batch):
        images, labels = batch
        seed = tf.stack([tf.constant(recipe.seed ^ AUGMENTATION_STREAM, tf.int64), step])
        images = augment(tf.cast(images, tf.float32), recipe, seed)
        return preprocessing.normalize(images, prepared.spec), labels

    indices = tf.data.Dataset.range(start_epoch, recipe.epochs).flat_map(order)
    batches = _pictures(prepared, indices, batch_size).enumerate(start_epoch * steps)
    batches = batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(4).with_options(_options())


def evaluation_batches(prepared, batch_size):
    """A tf.data.Dataset of (images (B, H, W, 3), labels (B,), weights (B,)), every picture once with weight 1.

    The last batch is filled up with pictures of weight 0, so that each batch has the same shape on every device.
    """
    import tensorflow as tf

    total = len(prepared.part)
    padded = -(-total // batch_size) * batch_size
    weights = (np.arange(padded) < total).astype("float32")
    indices = tf.data.Dataset.from_tensor_slices(np.arange(padded, dtype="int32") % total)
    weights = tf.data.Dataset.from_tensor_slices(weights).batch(batch_size, drop_remainder=True)

    def finish(batch, weight):
        images, labels = batch
        return preprocessing.normalize(images, prepared.spec), labels, weight

    batches = tf.data.Dataset.zip(_pictures(prepared, indices, batch_size), weights)
    return batches.map(finish).prefetch(2).with_options(_options())


def _pictures(prepared, indices, batch_size):
    """Batches of (uint8 images, labels) for a dataset of indices."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        labels = tf.constant(prepared.part.labels, tf.int32)
        if prepared.cache is not None:
            cache = tf.constant(prepared.cache)
            batches = indices.batch(batch_size, drop_remainder=True)
            return batches.map(lambda i: (tf.gather(cache, i), tf.gather(labels, i)))
        source = tf.constant(_source(prepared.part))
    decode = _decoder(prepared.part, prepared.spec)
    singles = indices.map(lambda i: (decode(source[i]), labels[i]), num_parallel_calls=tf.data.AUTOTUNE)
    return singles.batch(batch_size, drop_remainder=True)


def _readable(part, spec):
    """(index, uint8 picture) of every picture that can be decoded, as numpy."""
    import tensorflow as tf

    decode = _decoder(part, spec)
    items = tf.data.Dataset.from_tensor_slices((np.arange(len(part)), _source(part)))
    items = items.map(lambda i, s: (i, decode(s)), num_parallel_calls=tf.data.AUTOTUNE)
    return items.ignore_errors().prefetch(8).as_numpy_iterator()


def _source(part):
    """What the decoder takes: paths, or encoded pictures."""
    return np.array(part.names if part.encoded is None else part.encoded, dtype=object)


def _decoder(part, spec):
    import tensorflow as tf

    def decode(source):
        encoded = tf.io.read_file(source) if part.encoded is None else source
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
