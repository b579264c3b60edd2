"""A data set of tensorflow-datasets, prepared on this machine.

Its TFRecord files are read by offset, as our own shards are, so that the order of images is exact and a run can resume
anywhere. The index that this needs, with the length and class of every record, is made once and kept beside the files.
The classes may be a ClassLabel, one per image, or several in any of the forms of `targets.FORMS`.
"""

import contextlib
import difflib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from keras_vit.system.files import atomic_file
from keras_vit.training.datasets import targets
from keras_vit.training.datasets.records import Records, offsets_of
from keras_vit.training.datasets.splits import Split, assemble


def load(name, data_dir=None, train_split="train", val_split="validation", target_key=None):
    """Load the prepared data set `name`; nothing is downloaded, and the images themselves are not read.

    Args:
        name: as in tensorflow-datasets: "cifar10", "imagenet_resized/32x32", "imagenet2012:5.1.0".
        data_dir: folder it was prepared in; None for ~/tensorflow_datasets.
        train_split, val_split: "train", "train[:90%]", "test", ...; the validation split is also the test split.
        target_key: name of the feature that holds the classes; None where only one can.
    Returns:
        A splits.DataSet.
    Raises:
        ValueError: if the name or a split is unknown, or if the data set is not prepared, not stored as TFRecord, or
            not one of images and classes.
    """
    builder = _builder(name, data_dir)
    image, target = targets.features(builder.info, target_key)
    index = "" if target_key is None else f"\0{target_key}"
    splits = {
        "train": _split(builder, "train_split", train_split, image, target, index),
        "val": _split(builder, "val_split", val_split, image, target, index),
    }
    return assemble(name, target.classes, splits)


def images(name, data_dir=None, split="all"):
    """The images of a split, whether they have classes or not; the labels of the `Split` mean nothing.

    Args:
        name, data_dir: as `load` takes them.
        split: "train", "train[:90%]", "test", "all", ...
    Raises:
        ValueError: as `load` does.
    """
    builder = _builder(name, data_dir)
    target = targets.Target("", targets.NO_CLASSES, ())
    return _split(builder, "split", split, targets.image_feature(builder.info), target, "\0images")


def _builder(name, data_dir):
    import tensorflow_datasets

    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        close = difflib.get_close_matches(name, tensorflow_datasets.list_builders(), n=3)
        raise ValueError(
            f"tensorflow-datasets has no {name!r}, nor is it prepared below {data_dir or '~/tensorflow_datasets'}."
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


def _split(builder, option, split, image, target, index):
    try:
        instructions = builder.info.splits[split].file_instructions
    except (ValueError, KeyError) as error:
        known = ", ".join(builder.info.splits)
        raise ValueError(
            f"{option}={split!r} is no split of {builder.info.full_name}, which has {known}. "
            f"A fraction of one is written as {next(iter(builder.info.splits))}[:90%]."
        ) from error
    files = tuple(str(instruction.filename) for instruction in instructions)
    lengths, labels = _index(Path(builder.data_path), f"{split}{index}", files, target)
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
    labels = np.concatenate([of_file[taken] for of_file, taken in zip(labels, rows)]).astype(target.dtype)
    invalid = np.flatnonzero(target.are_invalid(labels))
    if len(invalid):
        which = "" if target.several else f" with class {labels[invalid[0]]}"
        raise ValueError(
            f"{option}={split!r}: {len(invalid)} of {len(labels)} images have a class outside 0 ... "
            f"{len(target.classes) - 1}, the first {names[invalid[0]]}{which}. Give a split that has labels."
        )
    return Split(names, labels, records=records)


def _index(folder, named, files, target):
    """Lengths of the records' contents, and classes: two lists with an array per file. Read from disk or made."""
    path = folder / f"keras_vit-{zlib.crc32(named.encode()):08x}.npz"
    sizes = np.array([Path(file).stat().st_size for file in files])
    index = _read_index(path)
    if index is None or not np.array_equal(index["sizes"], sizes):
        index = _scan(files, target) | {"sizes": sizes}
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


def _scan(files, target):
    """Number of records per file, and lengths and classes of all records, from reading every record."""
    import tensorflow as tf

    def entries(number, file):
        def entry(content):
            return number, tf.strings.length(content), target.parse(content)

        return tf.data.TFRecordDataset(file).map(entry).batch(2**16)

    numbered = tf.data.Dataset.from_tensor_slices((np.arange(len(files)), list(files)))
    batches = numbered.interleave(entries, cycle_length=8, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator()
    numbers, lengths, labels = (np.concatenate(values) for values in zip(*batches))
    rows, lengths = np.argsort(numbers, kind="stable"), lengths.astype("int64")
    return {"counts": np.bincount(numbers, minlength=len(files)), "lengths": lengths[rows], "labels": labels[rows]}
