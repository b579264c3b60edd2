"""A data set with its train, validation and test splits, and how images are divided among them."""

import dataclasses
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.images.names import some
from keras_vit.system import places
from keras_vit.training.datasets import stratification
from keras_vit.training.datasets.records import remote_reader

NAME_IN_RUNS = {"train": "train", "validation": "val", "test": "held_out"}  # in a run folder's files and fingerprint


@dataclass(frozen=True)
class Split:
    """Images and their classes: image files, encoded images in memory, or records.

    names: paths of image files, or their URLs; of other images, names that identify them in reports.
    """

    names: tuple[str, ...]
    labels: np.ndarray  # int32 (N,), the class of each; of several labels per image uint8 (N, K), 1 for each it has
    encoded: tuple[bytes, ...] | None = None  # images in memory
    records: Any = None  # records.Records: positions of the images in TFRecord files
    fetch: Any = None  # instead of `remote.read`, for images and records at URLs

    def __len__(self):
        return len(self.names)

    @property
    def are_files(self):
        """Whether the images are files, and the names their paths."""
        return self.encoded is None and self.records is None

    @property
    def multi_label(self):
        """Whether an image may have several labels, or none."""
        return self.labels.ndim == 2

    def class_counts(self, classes):
        """How many images have each of `classes` classes, int64 (classes,)."""
        if self.multi_label:
            return self.labels.sum(0, dtype="int64")
        return np.bincount(self.labels, minlength=classes)

    def take(self, indices):
        """The split of the images at `indices`, in that order."""
        encoded = None if self.encoded is None else tuple(self.encoded[i] for i in indices)
        records = None if self.records is None else self.records.take(indices)
        return Split(tuple(self.names[i] for i in indices), self.labels[indices], encoded, records, self.fetch)

    def fetching(self, fetch):
        """The split, of which what lies at URLs is read by a function as `remote.read` is one."""
        records = self.records and dataclasses.replace(self.records, fetch=fetch)
        return dataclasses.replace(self, records=records, fetch=fetch)

    def relative_names(self, root):
        """The names, paths of files relative to `root`: the same wherever the data set lies."""
        if not self.are_files:
            return self.names
        start = places.inside(root if places.is_remote(root) else os.path.abspath(root or "."), "")
        return tuple(n.removeprefix(start) if n.startswith(start) else places.relative(n, root) for n in self.names)

    def read(self, index):
        """The bytes of an encoded image.

        Raises:
            OSError, ValueError: if they cannot be read.
        """
        if self.encoded is not None:
            return self.encoded[index]
        if self.records is not None:
            return self.records.read(index)
        name = self.names[index]
        return self.fetch(name) if self.fetch and places.is_remote(name) else places.read(name)

    def reader(self):
        """`read` in TensorFlow: a function from an image's index, int64, to its bytes, a scalar string."""
        import tensorflow as tf

        if self.are_files and any(map(places.is_remote, self.names)):
            return remote_reader(self.read)
        if self.records is not None:
            return self.records.reader()
        with tf.device("CPU:0"):
            contents = self.encoded if self.encoded is not None else [os.fsencode(name) for name in self.names]
            source = tf.constant(np.array(contents, dtype=object))

        def read(index):
            return tf.io.read_file(source[index]) if self.encoded is None else source[index]

        return read


@dataclass(frozen=True)
class DataSet:
    """The splits of a data set, and the names of its classes by index."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split  # selects the best checkpoint
    test: Split  # read once, after training
    test_is_validation: bool = False  # there is no test split: results are measured on the validation split
    notes: dict[str, str] = field(default_factory=dict)  # {name: text} for the user, who should know what was decided

    def splits(self):
        """The splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def multi_label(self):
        """Whether an image may have several labels, or none."""
        return self.train.multi_label


def assemble(name, classes, splits, seed=0, notes=None):
    """Build a DataSet from the splits that a source has; those it lacks are taken from them.

    Args:
        splits: {"all": Split}, which is divided 80 / 10 / 10, stratified by class; or {"train": Split}, optionally with
            "val" (default: a tenth of train) and "test" (default: the validation split itself).
        seed: seed of the division.
        notes: {name: text} of what the source decided; what is decided here is added.
    Raises:
        ValueError: if there are too few images to divide, or a class has no image in train.
    """
    if "all" in splits:
        train, validation, test = (splits["all"].take(i) for i in _divide(splits["all"], (0.1, 0.1), seed))
    else:
        train, validation = splits["train"], splits.get("val")
        if validation is None:
            train, validation = (train.take(i) for i in _divide(train, (0.1,), seed))
        test = splits.get("test", validation)
    _refuse_classes_without_training(classes, train, splits)
    test_is_validation = not splits.keys() & {"all", "test"}
    notes = dict(notes or {})
    if "splits" in notes:
        notes["splits"] += "" if "val" in splits else ", a tenth of train is validation"
        notes["splits"] += ", validation is test too" if test_is_validation else ""
    if few := _missing_in_words(classes, {"validation": validation} | ({} if test_is_validation else {"test": test})):
        notes["few images"] = few
    return DataSet(name, classes, train, validation, test, test_is_validation, notes)


def _divide(split, fractions, seed):
    """Indices of what remains for training, then of one subset per fraction, each of at least one image."""
    sizes = [max(1, round(len(split) * fraction)) for fraction in fractions]
    if sum(sizes) >= len(split):
        raise ValueError(f"{len(split)} images are too few to divide into splits; {len(sizes) + 2} needed.")
    sizes = (*sizes, len(split) - sum(sizes))
    if split.multi_label:
        *others, train = stratification.iterative_split(split.labels, sizes, seed)
        return train, *others
    *others, train = stratified_split(split.labels, sizes, seed)
    return _with_all_classes(split.labels, train, others)


def _with_all_classes(labels, train, others):
    """Exchange images so that each class has one in train, as far as train is large enough; the sizes stay.

    A class without gets one from the subset that has most of it (the last of them), for one of the class that has most
    images in train (the first of them). Where no class is without, nothing changes.
    """
    counts = np.bincount(labels[train], minlength=labels.max() + 1)
    for label in np.setdiff1d(labels, labels[train]):
        donor = counts.argmax()
        if counts[donor] < 2:
            break
        subset = max(others, key=lambda indices: ((labels[indices] == label).sum(), indices is others[-1]))
        given, taken = (np.flatnonzero(labels[i] == c)[-1] for i, c in ((subset, label), (train, donor)))
        subset[given], train[taken] = train[taken], subset[given]
        counts[[label, donor]] += 1, -1
    return np.sort(train), *map(np.sort, others)


def _refuse_classes_without_training(classes, train, splits):
    without = _without_images(classes, train)
    if not without:
        return
    found = {name: split.class_counts(len(classes)) for name, split in splits.items()}
    elsewhere = {name: sum(counts[i] for i in without) for name, counts in found.items() if name != "train"}
    if "all" in splits or not any(elsewhere.values()):
        remedy = (
            f"{len(train)} of {sum(map(len, splits.values()))} images are for training: add images, or remove classes"
        )
    else:
        where = ", ".join(f"{count} images in {name}" for name, count in elsewhere.items() if count)
        remedy = f"They have {where}: put images of them into train, or name them as in train"
    raise ValueError(
        f"{len(without)} of {len(classes)} classes have no image in train, so that none can be learned: "
        f"{some(map(repr, (classes[i] for i in without)), 5)}. {remedy}."
    )


def _missing_in_words(classes, splits):
    """Which classes have no image in a split, in words; empty if there are none."""
    without = {name: [classes[i] for i in _without_images(classes, split)] for name, split in splits.items()}
    parts = [f"{name} has none of {len(c)} of {len(classes)} classes: {some(c)}" for name, c in without.items() if c]
    return "; ".join(parts)


def _without_images(classes, split):
    return list(np.flatnonzero(split.class_counts(len(classes)) == 0))


def stratified_split(labels, sizes, seed):
    """Divide images into subsets of exactly these sizes, with every class in proportion.

    The count of a class in a subset is rounded down; the images then missing go to the largest remainders.

    Args:
        labels: class index of every image.
        sizes: images per subset; they sum to len(labels).
        seed: seed of the generator that shuffles each class.
    Returns:
        One sorted array of indices per subset; disjoint, and together all images.
    """
    labels = np.asarray(labels)
    if sum(sizes) != len(labels):
        raise ValueError(f"sizes must sum to {len(labels)}, the number of images. Received: {list(sizes)}.")
    generator = np.random.default_rng(seed)
    left = [generator.permutation(np.flatnonzero(labels == c)) for c in range(labels.max() + 1)]
    subsets = []
    for size in sizes:
        counts = _proportional_counts([len(indices) for indices in left], size)
        taken = [indices[:count] for indices, count in zip(left, counts)]
        left = [indices[count:] for indices, count in zip(left, counts)]
        subsets.append(np.sort(np.concatenate(taken)))
    return subsets


def _proportional_counts(available, size):
    """Whole numbers in proportion to `available` that sum to `size`; none exceeds what is available."""
    exact = np.asarray(available) * (size / max(1, sum(available)))
    counts = np.floor(exact + 1e-9).astype(int)
    largest = np.argsort(counts - exact, kind="stable")  # largest remainder first, then class order
    counts[largest[: size - counts.sum()]] += 1
    return counts


def fingerprint(data_set, root=None):
    """sha256 over names, labels and, if known without reading files, contents or sizes of the images of all splits.

    Args:
        root: folder that paths of files are made relative to.
    """
    digest = hashlib.sha256()
    for name, split in data_set.splits().items():
        digest.update(NAME_IN_RUNS[name].encode())
        for i, (file, label) in enumerate(zip(split.relative_names(root), split.labels)):
            digest.update(f"{file}\0{_label_text(label)}\n".encode(errors="surrogateescape"))
            digest.update(b"" if split.encoded is None else split.encoded[i])
        if split.records is not None:
            digest.update(split.records.lengths.astype("<i8").tobytes())
    return digest.hexdigest()


def _label_text(label):
    """A label as text: the number of the class, or the numbers of all that an image has, as in "3|7"."""
    return str(label) if np.ndim(label) == 0 else "|".join(map(str, np.flatnonzero(label)))


def write_images(split, folder):
    """Write images that are in memory as files below `folder`, each completely or not at all.

    Returns:
        The split of the written files; `split` itself if its images are not in memory.
    """
    from keras_vit.system.files import atomic_file

    if split.encoded is None:
        return split
    for name, encoded in zip(split.names, split.encoded):
        path = Path(folder) / name
        if not (path.is_file() and path.read_bytes() == encoded):
            with atomic_file(path) as temporary:
                temporary.write_bytes(encoded)
    return Split(tuple(str(Path(folder) / name) for name in split.names), split.labels)
