import random
import struct

import pytest
import tensorflow as tf

from keras_vit.training.datasets.crc32c import crc32c, masked_crc32c


def test_the_checksum_of_the_standards_example():
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's test of the polynomial, in every catalogue of CRCs


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 63, 64, 65, 128, 129, 1000, 70_001])
def test_the_checksum_is_the_one_that_tensorflow_writes(tmp_path, length):
    content = random.Random(length).randbytes(length)
    with tf.io.TFRecordWriter(str(tmp_path / "x")) as writer:
        writer.write(content)
    assert masked_crc32c(content) == struct.unpack("<I", (tmp_path / "x").read_bytes()[-4:])[0]
