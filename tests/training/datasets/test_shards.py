import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.preprocessing import Spec
from keras_vit.training.datasets import digits, folders, shards
from keras_vit.training.datasets.splits import fingerprint
from keras_vit.training.pipeline import batches
from tests.training.pipeline.test_batches import arrays, assert_equal
from tests.training.toy import recipe, write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "d", per_class=9)


@pytest.fixture
def written(tmp_path, folder):
    shards.write(folders.load(folder), tmp_path / "shards", 3, root=folder)
    return tmp_path / "shards"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_hold_the_images_of_the_folder_in_its_order(folder, written):
    source, copy = folders.load(folder), shards.load(written)
    assert copy.classes == source.classes and copy.name == source.name and not copy.test_is_validation
    for (name, split), other in zip(source.splits().items(), copy.splits().values()):
        assert other.names == split.relative_names(folder)
        np.testing.assert_array_equal(other.labels, split.labels)
        assert [other.read(i) for i in range(len(other))] == [split.read(i) for i in range(len(split))], name


def test_a_run_from_shards_gets_the_batches_of_one_from_the_folder(folder, written):
    spec = Spec((8, 8), (0.5,) * 3, (0.5,) * 3)
    splits = [source.train for source in (folders.load(folder), shards.load(written))]
    assert_equal(*(arrays(batches.training_batches(batches.prepare(split, spec), recipe(), 8)) for split in splits))


def test_every_shard_holds_images_of_all_classes_and_every_image_is_in_one(written):
    found, names = [], []
    for path in sorted(written.glob("train-*.tfrecord")):
        keys = {"image/class/label": tf.int64, "image/class/text": tf.string, "image/filename": tf.string}
        features = {key: tf.io.FixedLenFeature((), dtype) for key, dtype in keys.items()}
        rows = [tf.io.parse_single_example(content, features) for content in tf.data.TFRecordDataset(str(path))]
        found.append({int(row["image/class/label"]) for row in rows})
        names += [row["image/filename"].numpy().decode() for row in rows]
        assert all(row["image/filename"].numpy().startswith(row["image/class/text"].numpy()) for row in rows)
    assert found == [{0, 1, 2}] * 3
    assert sorted(names) == sorted(shards.load(written).train.names)


def test_the_same_source_gives_the_same_bytes(tmp_path, folder, written):
    shards.write(folders.load(folder), tmp_path / "again", 3, root=folder)
    assert contents(tmp_path / "again") == contents(written)


def test_the_index_holds_counts_and_checksums(written):
    index = json.loads((written / "index.json").read_text())
    assert {name: split["pictures"] for name, split in index["parts"].items()} == {"train": 21, "val": 3, "test": 3}
    assert [len(split["shards"]) for split in index["parts"].values()] == [3, 1, 1]
    assert sum(shard["pictures"] for shard in index["parts"]["train"]["shards"]) == 21
    assert all(shard["sha256"] == shards.sha256(written / shard["file"]) for shard in index["parts"]["train"]["shards"])


def test_images_in_memory_are_written(tmp_path):
    shards.write(digits.load(), tmp_path / "digits", 2)
    assert shards.load(tmp_path / "digits").test.names == digits.load().test.names


def test_a_data_set_without_a_test_split_has_none_in_its_shards(tmp_path):
    write_folder(tmp_path / "d" / "train", 5), write_folder(tmp_path / "d" / "val", 2)
    shards.write(folders.load(tmp_path / "d"), tmp_path / "two", 2, root=tmp_path / "d")
    loaded = shards.load(tmp_path / "two")
    assert loaded.test_is_validation and loaded.test is loaded.validation
    assert loaded.validation.names[0] == "val/blue/00.png"


def test_nothing_is_written_if_an_image_is_missing(tmp_path, folder):
    data_set = folders.load(folder)
    Path(data_set.validation.names[0]).unlink()
    with pytest.raises(FileNotFoundError):
        shards.write(data_set, tmp_path / "new" / "shards", 3)
    assert not (tmp_path / "new").exists()


def test_an_existing_folder_is_not_overwritten(folder, written):
    before = contents(written)
    with pytest.raises(FileExistsError, match="exists already"):
        shards.write(folders.load(folder), written, 3)
    assert contents(written) == before


def test_less_than_one_shard_is_an_error(tmp_path, folder):
    with pytest.raises(ValueError, match="shards must be 1 or more. Received: 0"):
        shards.write(folders.load(folder), tmp_path / "s", 0)
    assert not (tmp_path / "s").exists()


def test_progress_counts_all_images(tmp_path, folder):
    counts = []
    shards.write(folders.load(folder), tmp_path / "s", 2, progress=counts.append)
    assert sum(counts) == 27 and len(counts) == 4


def test_incomplete_and_missing_shards_are_an_error(tmp_path, written):
    shard = written / "train-00001-of-00003.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train-00001-of-00003.tfrecord does not match index.json: \d+ bytes, not"):
        shards.load(written)
    shard.unlink()
    with pytest.raises(ValueError, match="index.json: no such file. Copy it again"):
        shards.load(written)


def test_damaged_and_foreign_indices_are_an_error(written):
    path = written / "val.index.npz"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="val.index.npz does not match index.json: another sha256"):
        shards.load(written)
    (written / "index.json").write_text('{"format": "something else"}')
    with pytest.raises(ValueError, match="is not of the format 'keras_vit shards 1'"):
        shards.load(written)
    (written / "index.json").write_text("{")
    with pytest.raises(ValueError, match="index.json is damaged"):
        shards.load(written)


def test_a_folder_without_shards_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no index.json. `keras-vit prepare-data` writes"):
        shards.load(tmp_path)


def test_the_fingerprint_depends_on_the_images_and_not_on_the_folder(tmp_path, folder, written):
    first = fingerprint(shards.load(written))
    assert fingerprint(shards.load(written.rename(tmp_path / "moved"))) == first
    path = folder / "red" / "00.png"
    path.write_bytes(path.read_bytes() + b" ")
    shards.write(folders.load(folder), tmp_path / "changed", 3, root=folder)
    assert fingerprint(shards.load(tmp_path / "changed")) != first
