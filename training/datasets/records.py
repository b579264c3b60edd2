"""Images in TFRecord files, each read at its offset: in any order, an image costs one read.

A record is the length of its content (8 bytes), a checksum of that (4), the content, and a checksum of it (4); the
content is a tf.train.Example. TensorFlow verifies the checksums, so that a damaged image is detected.
"""

import contextlib
import dataclasses
import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_vit.system import remote
from keras_vit.system.remote import UnreachableError, is_remote
from keras_vit.training.datasets.crc32c import masked_crc32c

HEADER, FRAME = 12, 16  # bytes before the content, and around it
CHECKSUM = struct.Struct("<I")


@dataclass(frozen=True)
class Records:
    """Positions of images in TFRecord files."""

    files: tuple[str, ...]
    shards: np.ndarray  # int32, one per image: index of its file
    offsets: np.ndarray  # int64: of its record in the file, in bytes
    lengths: np.ndarray  # int64: of the record's content, in bytes
    feature: str  # name of the encoded image in the tf.train.Example
    fetch: Any = remote.read  # of files at URLs

    def take(self, indices):
        """The records at `indices`, in that order."""
        shards, offsets, lengths = self.shards[indices], self.offsets[indices], self.lengths[indices]
        return dataclasses.replace(self, shards=shards, offsets=offsets, lengths=lengths)

    def read(self, index):
        """The bytes of an encoded image.

        Raises:
            OSError, ValueError: if they cannot be read.
        """
        import tensorflow as tf
        from google.protobuf.message import DecodeError

        path, offset, length = self.files[self.shards[index]], int(self.offsets[index]), int(self.lengths[index])
        content = self._content(path, offset, length)
        try:
            return tf.train.Example.FromString(content).features.feature[self.feature].bytes_list.value[0]
        except (DecodeError, IndexError) as error:
            raise ValueError(f"{path} has no image at byte {offset}, where its index lists one.") from error

    def _content(self, path, offset, length):
        """The content of a record; its checksum is verified where it is in an object store."""
        if is_remote(path):
            record = self.fetch(path, offset, length + FRAME)
            content, (expected,) = record[HEADER : HEADER + length], CHECKSUM.unpack(record[-CHECKSUM.size :])
            if masked_crc32c(content) != expected:
                raise ValueError(f"{path} is damaged at byte {offset}: the checksum of its record differs.")
            return content
        with open(path, "rb") as file:
            file.seek(offset + HEADER)
            return file.read(length)

    def reader(self):
        """`read` in TensorFlow: a function from an image's index, int64, to its bytes, a scalar string."""
        import tensorflow as tf

        if any(map(is_remote, self.files)):
            return remote_reader(self.read)

        with tf.device("CPU:0"):
            files, shards = tf.constant(self.files), tf.constant(self.shards)
            offsets, lengths = tf.constant(self.offsets), tf.constant(self.lengths)

        def read(index):
            dataset = tf.raw_ops.TFRecordDatasetV2(  # tf.data.TFRecordDataset has no byte_offsets
                filenames=files[shards[index]][None],
                compression_type="",
                buffer_size=lengths[index] + FRAME,
                byte_offsets=offsets[index][None],
            )
            records = tf.data.experimental.from_variant(dataset, tf.TensorSpec((), tf.string))
            content = records.take(1).get_single_element()
            return tf.io.parse_single_example(content, {self.feature: tf.io.FixedLenFeature((), tf.string)})[
                self.feature
            ]

        return read


def offsets_of(lengths):
    """Offsets of successive records in a file, int64, from the lengths of their contents."""
    ends = np.cumsum(np.asarray(lengths, "int64") + FRAME)
    return np.concatenate([[0], ends])[: len(ends)].astype("int64")


def remote_reader(read):
    """As the readers of `Split` and `Records`, of images in object stores, which TensorFlow does not read.

    After the first that could not be reached, all others fail at once: else the next one would be tried in its place,
    for minutes each, as it is for one that is damaged.

    Args:
        read: from an image's index to its bytes.
    """
    import tensorflow as tf

    failures = []

    def fetch(index):
        if failures:
            raise failures[0]
        try:
            return read(int(index))
        except UnreachableError as error:
            failures.append(error)
            raise

    return lambda index: tf.ensure_shape(tf.numpy_function(fetch, [index], tf.string, stateful=False), ())


@contextlib.contextmanager
def named_failures():
    """Let an `UnreachableError`, of which TensorFlow made an error of its own, be one again."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(r"(?:Unreachable|Refused)Error: (.*)", str(error))
        if found is None:
            raise
        raise UnreachableError(f"{found[1]} The last checkpoint stays.") from error
