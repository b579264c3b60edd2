"""What a run learns from and is judged by: a data set in three parts, and how pictures are divided among them."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Part:
    """Pictures and the numbers of their classes: picture files, encoded pictures in memory, or records.

    names: the files' paths; for others, names by which people find them.
    """

    names: tuple[str, ...]
    labels: np.ndarray  # int32, one per name
    encoded: tuple[bytes, ...] | None = None  # pictures in memory
    records: Any = None  # a records.Records: where they lie

    def __len__(self):
        return len(self.names)

    @property
    def are_files(self):
        """Whether the names are those of picture files."""
        return self.encoded is None and self.records is None

    def take(self, indices):
        """The part's pictures at `indices`, in that order."""
        encoded = None if self.encoded is None else tuple(self.encoded[i] for i in indices)
        records = None if self.records is None else self.records.take(indices)
        return Part(tuple(self.names[i] for i in indices), self.labels[indices], encoded, records)

    def names_from(self, root):
        """The names; those of files relative to `root`, so that a data set may move."""
        if not self.are_files:
            return self.names
        start = os.path.join(os.path.abspath(root or "."), "")
        return tuple(n.removeprefix(start) if n.startswith(start) else os.path.relpath(n, root) for n in self.names)

    def read(self, index):
        """The bytes of an encoded picture. OSError or ValueError if they cannot be read."""
        if self.encoded is not None:
            return self.encoded[index]
        if self.records is not None:
            return self.records.read(index)
        return Path(self.names[index]).read_bytes()

    def reader(self):
        """`read` in TensorFlow: a function from the number of a picture, int64, to its bytes, a scalar string."""
        import tensorflow as tf

        if self.records is not None:
            return self.records.reader()
        with tf.device("CPU:0"):
            source = tf.constant(np.array(self.names if self.encoded is None else self.encoded, dtype=object))

        def read(number):
            return tf.io.read_file(source[number]) if self.encoded is None else source[number]

        return read


@dataclass(frozen=True)
class DataSet:
    """The parts of a data set, and its classes by number."""

    name: str
    classes: tuple[str, ...]
    train: Part
    val: Part  # chooses the best checkpoint
    held_out: Part  # read a single time, at the end
    held_out_is_val: bool = False  # a folder with train/ and val/ and nothing else

    def parts(self):
        """The parts by name."""
        return {"train": self.train, "val": self.val, "held_out": self.held_out}


def assemble(name, classes, given, seed=0):
    """A DataSet of the parts that there are.

    Args:
        given: {"all": Part}, which is divided 80 / 10 / 10, stratified; or {"train": Part} with or without "val" (else
            a tenth of train) and "test" (else val is what is reported on).
        seed: of the division.
    Raises: ValueError if there are too few pictures to be divided.
    """
    if "all" in given:
        train, val, held_out = (given["all"].take(i) for i in _divide(given["all"], (0.1, 0.1), seed))
        return DataSet(name, classes, train, val, held_out)
    train, val = given["train"], given.get("val")
    if val is None:
        train, val = (train.take(i) for i in _divide(train, (0.1,), seed))
    return DataSet(name, classes, train, val, given.get("test", val), "test" not in given)


def _divide(part, fractions, seed):
    """Indices of train, then of one part per fraction, of at least one picture each."""
    sizes = [max(1, round(len(part) * fraction)) for fraction in fractions]
    if sum(sizes) >= len(part):
        raise ValueError(f"{len(part)} pictures are too few to be divided; {len(sizes) + 2} needed.")
    *others, train = stratified(part.labels, (*sizes, len(part) - sum(sizes)), seed)
    return train, *others


def stratified(labels, sizes, seed):
    """Divide pictures into parts of exactly these sizes, each class in proportion.

    Args:
        labels: the class of every picture.
        sizes: pictures per part; they sum to len(labels).
        seed: of the generator that shuffles each class.
    Output: one sorted array of indices per part; disjoint, and together everything.

    A class's share of a part is rounded down, and what is then missing goes to the largest fractions.
    """
    labels = np.asarray(labels)
    if sum(sizes) != len(labels):
        raise ValueError(f"sizes must sum to {len(labels)}, the pictures. Received: {list(sizes)}.")
    generator = np.random.default_rng(seed)
    left = [generator.permutation(np.flatnonzero(labels == c)) for c in range(labels.max() + 1)]
    parts = []
    for size in sizes:
        counts = _shares([len(indices) for indices in left], size)
        taken = [indices[:count] for indices, count in zip(left, counts)]
        left = [indices[count:] for indices, count in zip(left, counts)]
        parts.append(np.sort(np.concatenate(taken)))
    return parts


def _shares(counts, size):
    """Whole numbers in proportion to `counts`, that sum to `size`; none exceeds its count."""
    exact = np.asarray(counts) * (size / max(1, sum(counts)))
    shares = np.floor(exact + 1e-9).astype(int)
    largest = np.argsort(shares - exact, kind="stable")  # largest fraction first, then class order
    shares[largest[: size - shares.sum()]] += 1
    return shares


def fingerprint(data_set, root=None):
    """sha256 over names, labels and, where they are known without reading files, contents or sizes of all parts.

    Args:
        root: folder that files are named relative to.
    """
    digest = hashlib.sha256()
    for name, part in data_set.parts().items():
        digest.update(name.encode())
        for i, (file, label) in enumerate(zip(part.names_from(root), part.labels)):
            digest.update(f"{file}\0{label}\n".encode(errors="surrogateescape"))
            digest.update(b"" if part.encoded is None else part.encoded[i])
        if part.records is not None:
            digest.update(part.records.lengths.astype("<i8").tobytes())
    return digest.hexdigest()


def write_pictures(part, folder):
    """Write a part held in memory as files below `folder`, each whole or not at all; the part of those files."""
    from keras_vit.files import atomic_file

    if part.encoded is None:
        return part
    for name, encoded in zip(part.names, part.encoded):
        path = Path(folder) / name
        if not (path.is_file() and path.read_bytes() == encoded):
            with atomic_file(path) as temporary:
                temporary.write_bytes(encoded)
    return Part(tuple(str(Path(folder) / name) for name in part.names), part.labels)
