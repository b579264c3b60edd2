"""A data set of tensorflow-datasets, prepared on this machine.

Its TFRecord files are read by offset, as our own shards are, so that the order of images is exact and a run can resume
anywhere. The index that this needs, with the length and class of every record, is made once and kept beside the files.
"""

import contextlib
import difflib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from keras_vit.system.files import atomic_file
from keras_vit.training.datasets.records import Records, offsets_of
from keras_vit.training.datasets.splits import Split, assemble


def load(name, data_dir=None, train_split="train", val_split="validation"):
    """Load the prepared data set `name`; nothing is downloaded, and the images themselves are not read.

    Args:
        name: as in tensorflow-datasets: "cifar10", "imagenet_resized/32x32", "imagenet2012:5.1.0".
        data_dir: folder it was prepared in; None for ~/tensorflow_datasets.
        train_split, val_split: "train", "train[:90%]", "test", ...; the validation split is also the test split.
    Returns:
        A splits.DataSet.
    Raises:
        ValueError: if the name or a split is unknown, or if the data set is not prepared, not stored as TFRecord, or
            not one of images and classes.
    """
    builder = _builder(name, data_dir)
    image, label = _features(builder)
    classes = tuple(builder.info.features[label].names)
    splits = {
        "train": _split(builder, "train_split", train_split, image, label),
        "val": _split(builder, "val_split", val_split, image, label),
    }
    return assemble(name, classes, splits)


def _builder(name, data_dir):
    import tensorflow_datasets

    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        close = difflib.get_close_matches(name, tensorflow_datasets.list_builders(), n=3)
        raise ValueError(
            f"tensorflow-datasets has no {name!r}, nor is it prepared below {data_dir}."
            f"{' Closest: ' + ', '.join(close) + '.' if close else ''}"
        ) from error
    if not builder.is_prepared():
        raise ValueError(
            f"The data set {name!r} is not prepared at {builder.data_path}. Prepare it, with network: "
            f"tensorflow_datasets.builder({name!r}, data_dir={data_dir!r}).download_and_prepare()"
        )
    if builder.info.file_format.value != "tfrecord":
        raise ValueError(
            f"The data set {name!r} at {builder.data_path} is stored as {builder.info.file_format.value}. "
            "Prepare it as tfrecord, the default of tensorflow-datasets."
        )
    return builder


def _features(builder):
    """Names of the features that hold the image and the class."""
    from tensorflow_datasets.core.features import ClassLabel, Image

    features, keys = dict(builder.info.features.items()), builder.info.supervised_keys
    if not keys:
        candidates = [[name for name, f in features.items() if isinstance(f, kind)] for kind in (Image, ClassLabel)]
        keys = [names[0] if len(names) == 1 else None for names in candidates]
    if not all(isinstance(features.get(name), kind) for name, kind in zip(keys, (Image, ClassLabel))):
        raise ValueError(
            f"{builder.info.full_name} is not for classification: expected examples of one image (Image) and one "
            f"class (ClassLabel). Its features: {', '.join(f'{k}: {type(f).__name__}' for k, f in features.items())}."
        )
    return keys


def _split(builder, option, split, image, label):
    try:
        instructions = builder.info.splits[split].file_instructions
    except (ValueError, KeyError) as error:
        known = ", ".join(builder.info.splits)
        raise ValueError(
            f"{option}={split!r} is no split of {builder.info.full_name}, which has {known}. "
            f"A fraction of one is written as {next(iter(builder.info.splits))}[:90%]."
        ) from error
    files = tuple(str(instruction.filename) for instruction in instructions)
    lengths, labels = _index(Path(builder.data_path), split, files, label)
    rows = [slice(one.skip, one.skip + one.take) for one in instructions]
    counts = [one.take for one in instructions]
    records = Records(
        files,
        np.repeat(np.arange(len(files), dtype="int32"), counts),
        np.concatenate([offsets_of(of_file)[taken] for of_file, taken in zip(lengths, rows)]),
        np.concatenate([of_file[taken] for of_file, taken in zip(lengths, rows)]),
        image,
    )
    names = tuple(
        f"{Path(file).name}#{row}" for file, taken in zip(files, rows) for row in range(taken.start, taken.stop)
    )
    labels = np.concatenate([of_file[taken] for of_file, taken in zip(labels, rows)]).astype("int32")
    classes = builder.info.features[label].num_classes
    invalid = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(invalid):
        raise ValueError(
            f"{option}={split!r}: {len(invalid)} of {len(labels)} images have a class outside 0 ... {classes - 1}, "
            f"the first {names[invalid[0]]} with class {labels[invalid[0]]}. Give a split that has labels."
        )
    return Split(names, labels, records=records)


def _index(folder, split, files, label):
    """Lengths of the records' contents, and classes: two lists with an int64 array per file. Read from disk or made."""
    path = folder / f"keras_vit-{zlib.crc32(split.encode()):08x}.npz"
    sizes = np.array([Path(file).stat().st_size for file in files])
    index = _read_index(path)
    if index is None or not np.array_equal(index["sizes"], sizes):
        index = _scan(files, label) | {"sizes": sizes}
        with contextlib.suppress(OSError):  # in a read-only folder, the index is made again each time
            with atomic_file(path) as temporary:
                np.savez(temporary, **index)
    ends = np.cumsum(index["counts"])[:-1]
    return np.split(index["lengths"], ends), np.split(index["labels"], ends)


def _read_index(path):
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _scan(files, label):
    """Number of records per file, and lengths and classes of all records, from reading every record."""
    import tensorflow as tf

    def entries(number, file):
        def entry(content):
            example = tf.io.parse_single_example(content, {label: tf.io.FixedLenFeature((), tf.int64)})
            return number, tf.strings.length(content), example[label]

        return tf.data.TFRecordDataset(file).map(entry).batch(2**16)

    numbered = tf.data.Dataset.from_tensor_slices((np.arange(len(files)), list(files)))
    batches = numbered.interleave(entries, cycle_length=8, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator()
    numbers, lengths, labels = (np.concatenate(values).astype("int64") for values in zip(*batches))
    rows = np.argsort(numbers, kind="stable")
    return {"counts": np.bincount(numbers, minlength=len(files)), "lengths": lengths[rows], "labels": labels[rows]}
