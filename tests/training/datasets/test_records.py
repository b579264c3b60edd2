import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training.datasets.records import Records, offsets_of

CONTENTS = [[b"one", b"two" * 700], [b"", b"four", b"five" * 90_000]]


@pytest.fixture
def records(tmp_path):
    files, shards, offsets, lengths = [], [], [], []
    for number, images in enumerate(CONTENTS):
        files.append(str(tmp_path / f"{number}.tfrecord"))
        with tf.io.TFRecordWriter(files[-1]) as writer:
            examples = [example(image) for image in images]
            for content in examples:
                writer.write(content)
        shards += [number] * len(images)
        offsets += list(offsets_of(list(map(len, examples))))
        lengths += map(len, examples)
    return Records(tuple(files), np.array(shards, "int32"), np.array(offsets), np.array(lengths), "image")


def example(image):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    return tf.train.Example(features=tf.train.Features(feature={"image": feature})).SerializeToString()


def test_every_image_is_read_at_its_offset(records):
    expected = [image for images in CONTENTS for image in images]
    read = records.reader()
    indices = [4, 0, 3, 1, 2]
    found = tf.data.Dataset.from_tensor_slices(np.array(indices)).map(read).as_numpy_iterator()
    assert list(found) == [expected[i] for i in indices] == [records.read(i) for i in indices]


def test_a_selection_of_records_is_read_in_its_order(records):
    some = records.take(np.array([3, 1]))
    assert [some.read(0), some.read(1)] == [CONTENTS[1][1], CONTENTS[0][1]]
    assert some.reader()(tf.constant(0, tf.int64)).numpy() == CONTENTS[1][1]


def test_a_damaged_record_is_detected(records):
    path = Path(records.files[1])
    content = bytearray(path.read_bytes())
    content[-500] ^= 1
    path.write_bytes(content)
    read = records.reader()
    with pytest.raises(tf.errors.DataLossError):
        read(tf.constant(4, tf.int64))
    assert read(tf.constant(3, tf.int64)).numpy() == b"four"


def test_wrong_offsets_are_an_error(records):
    wrong = dataclasses.replace(records, offsets=records.offsets + 3)
    with pytest.raises(ValueError, match="0.tfrecord has no image at byte 3, where its index lists one"):
        wrong.read(0)
    with pytest.raises(tf.errors.DataLossError):
        wrong.reader()(tf.constant(0, tf.int64))


def test_offsets_count_the_frames_of_records():
    assert list(offsets_of([5, 0, 7])) == [0, 21, 37] and list(offsets_of([])) == []
