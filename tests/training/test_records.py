import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training.records import Records, offsets_of

CONTENTS = [[b"one", b"two" * 700], [b"", b"four", b"five" * 90_000]]


@pytest.fixture
def records(tmp_path):
    files, shards, offsets, lengths = [], [], [], []
    for number, pictures in enumerate(CONTENTS):
        files.append(str(tmp_path / f"{number}.tfrecord"))
        with tf.io.TFRecordWriter(files[-1]) as writer:
            examples = [example(picture) for picture in pictures]
            for content in examples:
                writer.write(content)
        shards += [number] * len(pictures)
        offsets += list(offsets_of(list(map(len, examples))))
        lengths += map(len, examples)
    return Records(tuple(files), np.array(shards, "int32"), np.array(offsets), np.array(lengths), "picture")


def example(picture):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture]))
    return tf.train.Example(features=tf.train.Features(feature={"picture": feature})).SerializeToString()


def test_every_picture_is_found_by_its_offset(records):
    expected = [picture for pictures in CONTENTS for picture in pictures]
    read = records.reader()
    numbers = [4, 0, 3, 1, 2]
    found = tf.data.Dataset.from_tensor_slices(np.array(numbers)).map(read).as_numpy_iterator()
    assert list(found) == [expected[n] for n in numbers] == [records.read(n) for n in numbers]


def test_some_records_in_another_order(records):
    some = records.take(np.array([3, 1]))
    assert [some.read(0), some.read(1)] == [CONTENTS[1][1], CONTENTS[0][1]]
    assert some.reader()(tf.constant(0, tf.int64)).numpy() == CONTENTS[1][1]


def test_a_damaged_record_is_noticed(records):
    path = Path(records.files[1])
    content = bytearray(path.read_bytes())
    content[-500] ^= 1
    path.write_bytes(content)
    read = records.reader()
    with pytest.raises(tf.errors.DataLossError):
        read(tf.constant(4, tf.int64))
    assert read(tf.constant(3, tf.int64)).numpy() == b"four"


def test_an_index_that_does_not_fit_is_an_error(records):
    wrong = dataclasses.replace(records, offsets=records.offsets + 3)
    with pytest.raises(ValueError, match="0.tfrecord has no picture at byte 3, where its index has one"):
        wrong.read(0)
    with pytest.raises(tf.errors.DataLossError):
        wrong.reader()(tf.constant(0, tf.int64))


def test_offsets_are_those_of_the_frames():
    assert list(offsets_of([5, 0, 7])) == [0, 21, 37] and list(offsets_of([])) == []
