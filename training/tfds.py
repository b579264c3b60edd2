"""A data set of tensorflow-datasets, prepared on this machine.

Its TFRecord files are read by offset, as our own shards are, so that it has their exact order and start. What that
takes, the length and class of every record, is read once and kept beside the data set's files.
"""

import contextlib
import difflib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from keras_vit.files import atomic_file
from keras_vit.training.parts import Part, assemble
from keras_vit.training.records import Records, offsets_of


def load(name, data_dir=None, train_split="train", val_split="validation"):
    """The prepared data set `name`; nothing is downloaded.

    Args:
        name: as tensorflow-datasets has it: "cifar10", "imagenet_resized/32x32", "imagenet2012:5.1.0".
        data_dir: where it was prepared; None for ~/tensorflow_datasets.
        train_split, val_split: "train", "train[:90%]", "test", ...; val_split is also what is reported on.
    Raises: ValueError for an unknown name or split, a data set that is not prepared, or that has no picture and class.
    """
    builder = _builder(name, data_dir)
    image, label = _features(builder)
    classes = tuple(builder.info.features[label].names)
    parts = {
        "train": _part(builder, "train_split", train_split, image, label),
        "val": _part(builder, "val_split", val_split, image, label),
    }
    return assemble(name, classes, parts)


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
    """Names of the picture and of the class in the data set's examples."""
    from tensorflow_datasets.core.features import ClassLabel, Image

    features, wanted = dict(builder.info.features.items()), builder.info.supervised_keys
    if not wanted:
        wanted = [[name for name, f in features.items() if isinstance(f, kind)] for kind in (Image, ClassLabel)]
        wanted = [names[0] if len(names) == 1 else None for names in wanted]
    found = [isinstance(features.get(name), kind) for name, kind in zip(wanted, (Image, ClassLabel))]
    if not all(found):
        raise ValueError(
            f"{builder.info.full_name} is not for classification: expected examples of one picture (Image) and one "
            f"class (ClassLabel). Its features: {', '.join(f'{k}: {type(f).__name__}' for k, f in features.items())}."
        )
    return wanted


def _part(builder, option, split, image, label):
    try:
        instructions = builder.info.splits[split].file_instructions
    except (ValueError, KeyError) as error:
        known = ", ".join(builder.info.splits)
        raise ValueError(
            f"{option}={split!r} is no split of {builder.info.full_name}, which has {known}. A share of one is written "
            f"as {next(iter(builder.info.splits))}[:90%]."
        ) from error
    files = tuple(str(instruction.filename) for instruction in instructions)
    lengths, labels = _index(Path(builder.data_path), split, files, label)
    chosen = [slice(one.skip, one.skip + one.take) for one in instructions]
    counts = [one.take for one in instructions]
    records = Records(
        files,
        np.repeat(np.arange(len(files), dtype="int32"), counts),
        np.concatenate([offsets_of(of_file)[rows] for of_file, rows in zip(lengths, chosen)]),
        np.concatenate([of_file[rows] for of_file, rows in zip(lengths, chosen)]),
        image,
    )
    names = tuple(
        f"{Path(file).name}#{row}" for file, rows in zip(files, chosen) for row in range(rows.start, rows.stop)
    )
    labels = np.concatenate([of_file[rows] for of_file, rows in zip(labels, chosen)]).astype("int32")
    classes = builder.info.features[label].num_classes
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"{option}={split!r}: {len(wrong)} of {len(labels)} pictures have a class outside 0 ... {classes - 1}, "
            f"{names[wrong[0]]} for one, {labels[wrong[0]]}. Name a split whose classes are known."
        )
    return Part(names, labels, records=records)


def _index(folder, split, files, label):
    """Two lists with an int64 array per file: lengths of the records' contents, and classes."""
    path = folder / f"keras_vit-{zlib.crc32(split.encode()):08x}.npz"
    sizes = np.array([Path(file).stat().st_size for file in files])
    known = _read_index(path)
    if known is None or not np.array_equal(known["sizes"], sizes):
        known = _scan(files, label) | {"sizes": sizes}
        with contextlib.suppress(OSError):  # where nothing may be written, it is read again each time
            with atomic_file(path) as temporary:
                np.savez(temporary, **known)
    ends = np.cumsum(known["counts"])[:-1]
    return np.split(known["lengths"], ends), np.split(known["labels"], ends)


def _read_index(path):
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _scan(files, label):
    """Records per file, and lengths and classes of all records."""
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
