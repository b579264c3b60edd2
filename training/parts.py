"""What a run learns from and is judged by: a data set in three parts, and how pictures are divided among them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Part:
    """Pictures and the numbers of their classes: picture files, or encoded pictures held in memory.

    names: the files' paths; for pictures in memory, the names they would have as files.
    encoded: None, or as many byte strings.
    """

    names: tuple[str, ...]
    labels: np.ndarray  # int32, one per name
    encoded: tuple[bytes, ...] | None = None

    def __len__(self):
        return len(self.names)

    def take(self, indices):
        """The part's pictures at `indices`, in that order."""
        encoded = None if self.encoded is None else tuple(self.encoded[i] for i in indices)
        return Part(tuple(self.names[i] for i in indices), self.labels[indices], encoded)


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
