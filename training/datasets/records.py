"""Images in TFRecord files, each read at its offset: in any order, an image costs one read.

A record is the length of its content (8 bytes), a checksum of that (4), the content, and a checksum of it (4); the
content is a tf.train.Example. TensorFlow verifies the checksums, so that a damaged image is detected.
"""

from dataclasses import dataclass

import numpy as np

HEADER, FRAME = 12, 16  # bytes before the content, and around it


@dataclass(frozen=True)
class Records:
    """Positions of images in TFRecord files."""

    files: tuple[str, ...]
    shards: np.ndarray  # int32, one per image: index of its file
    offsets: np.ndarray  # int64: of its record in the file, in bytes
    lengths: np.ndarray  # int64: of the record's content, in bytes
    feature: str  # name of the encoded image in the tf.train.Example

    def take(self, indices):
        """The records at `indices`, in that order."""
        return Records(self.files, self.shards[indices], self.offsets[indices], self.lengths[indices], self.feature)

    def read(self, index):
        """The bytes of an encoded image.

        Raises:
            OSError, ValueError: if they cannot be read.
        """
        import tensorflow as tf
        from google.protobuf.message import DecodeError

        path, offset, length = self.files[self.shards[index]], int(self.offsets[index]), int(self.lengths[index])
        with open(path, "rb") as file:
            file.seek(offset + HEADER)
            content = file.read(length)
        try:
            return tf.train.Example.FromString(content).features.feature[self.feature].bytes_list.value[0]
        except (DecodeError, IndexError) as error:
            raise ValueError(f"{path} has no image at byte {offset}, where its index lists one.") from error

    def reader(self):
        """`read` in TensorFlow: a function from an image's index, int64, to its bytes, a scalar string."""
        import tensorflow as tf

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
