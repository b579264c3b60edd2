"""Images that are not files of their own, in a shard or a data set of tensorflow-datasets, and long lists of images."""

import bisect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keras_vit.system.remote import is_remote


@dataclass(frozen=True)
class StoredImage:
    """An image that something else holds; it is shown by its name."""

    name: str
    read: Callable[[], bytes]  # the encoded image; raises OSError or ValueError

    def __str__(self):
        return self.name


class StoredImages(Sequence):
    """Images that are told apart by their number, each made when it is asked for.

    Args:
        names: N of them.
        read: from the number of an image to its encoded bytes.
    """

    def __init__(self, names, read):
        self.names, self.read = names, read

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return StoredImage(self.names[index], lambda: self.read(index))


class Opened(Sequence):
    """Paths, and in place of URLs the images that they name.

    Args:
        paths: N of them.
        read: from a URL to the bytes of the object.
    """

    def __init__(self, paths, read):
        self.paths, self.read = paths, read

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        path = self.paths[index]
        return StoredImage(path, lambda: self.read(path)) if is_remote(path) else path


class Chain(Sequence):
    """Sequences, one behind the other, none of them copied."""

    def __init__(self, parts):
        self.parts = [part for part in parts if len(part)]
        self.ends = list(itertools.accumulate(map(len, self.parts)))

    def __len__(self):
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect.bisect_right(self.ends, index)
        return self.parts[part][index - (self.ends[part] - len(self.parts[part]))]
