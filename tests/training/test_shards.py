import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.preprocessing import Spec
from keras_vit.training import data, digits, folders, shards
from keras_vit.training.parts import fingerprint
from tests.training.test_data import arrays, assert_equal
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


def test_shards_hold_the_pictures_of_the_folder_in_its_order(folder, written):
    source, copy = folders.load(folder), shards.load(written)
    assert copy.classes == source.classes and copy.name == source.name and not copy.held_out_is_val
    for (name, part), other in zip(source.parts().items(), copy.parts().values()):
        assert other.names == part.names_from(folder)
        np.testing.assert_array_equal(other.labels, part.labels)
        assert [other.read(i) for i in range(len(other))] == [part.read(i) for i in range(len(part))], name


def test_a_run_from_shards_sees_what_one_from_the_folder_sees(folder, written):
    spec = Spec((8, 8), (0.5,) * 3, (0.5,) * 3)
    parts = [source.train for source in (folders.load(folder), data.load(recipe(dataset="records", data_dir=written)))]
    assert_equal(*(arrays(data.training_batches(data.prepare(part, spec), recipe(), 8)) for part in parts))


def test_every_shard_holds_pictures_of_all_classes_and_every_picture_is_in_one(written):
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


def test_the_index_counts_and_sums(written):
    index = json.loads((written / "index.json").read_text())
    assert {name: part["pictures"] for name, part in index["parts"].items()} == {"train": 21, "val": 3, "test": 3}
    assert [len(part["shards"]) for part in index["parts"].values()] == [3, 1, 1]
    assert sum(shard["pictures"] for shard in index["parts"]["train"]["shards"]) == 21
    assert all(shard["sha256"] == shards.sha256(written / shard["file"]) for shard in index["parts"]["train"]["shards"])


def test_pictures_in_memory_and_parts_without_a_test(tmp_path):
    shards.write(digits.load(), tmp_path / "digits", 2)
    assert shards.load(tmp_path / "digits").held_out.names == digits.load().held_out.names
    write_folder(tmp_path / "d" / "train", 5), write_folder(tmp_path / "d" / "val", 2)
    shards.write(folders.load(tmp_path / "d"), tmp_path / "two", 2, root=tmp_path / "d")
    loaded = shards.load(tmp_path / "two")
    assert loaded.held_out_is_val and loaded.held_out is loaded.val and loaded.val.names[0] == "val/blue/00.png"


def test_a_picture_that_is_gone_leaves_nothing(tmp_path, folder):
    data_set = folders.load(folder)
    Path(data_set.val.names[0]).unlink()
    with pytest.raises(FileNotFoundError):
        shards.write(data_set, tmp_path / "new" / "shards", 3)
    assert not (tmp_path / "new").exists()


def test_what_exists_is_not_overwritten(folder, written):
    before = contents(written)
    with pytest.raises(FileExistsError, match="exists already"):
        shards.write(folders.load(folder), written, 3)
    with pytest.raises(ValueError, match="shards must be 1 or more. Received: 0"):
        shards.write(folders.load(folder), written, 0)
    assert contents(written) == before


def test_progress_is_told_of_all_pictures(tmp_path, folder):
    told = []
    shards.write(folders.load(folder), tmp_path / "s", 2, progress=told.append)
    assert sum(told) == 27 and len(told) == 4


def test_damage_is_noticed(tmp_path, written):
    shard = written / "train-00001-of-00003.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train-00001-of-00003.tfrecord is not what index.json says: \d+ bytes, not"):
        shards.load(written)
    shard.unlink()
    with pytest.raises(ValueError, match="index.json says: no such file. Copy it again"):
        shards.load(written)


def test_a_changed_index_is_noticed(written):
    path = written / "val.index.npz"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="val.index.npz is not what index.json says: another sha256"):
        shards.load(written)
    (written / "index.json").write_text('{"format": "something else"}')
    with pytest.raises(ValueError, match="is not of the format 'keras_vit shards 1'"):
        shards.load(written)
    (written / "index.json").write_text("{")
    with pytest.raises(ValueError, match="index.json is damaged"):
        shards.load(written)


def test_a_folder_without_shards(tmp_path):
    with pytest.raises(ValueError, match="no index.json. `keras-vit prepare-data` writes"):
        shards.load(tmp_path)


def test_the_fingerprint_follows_the_shards(tmp_path, folder, written):
    first = fingerprint(shards.load(written))
    assert fingerprint(shards.load(written.rename(tmp_path / "moved"))) == first
    path = folder / "red" / "00.png"
    path.write_bytes(path.read_bytes() + b" ")
    shards.write(folders.load(folder), tmp_path / "changed", 3, root=folder)
    assert fingerprint(shards.load(tmp_path / "changed")) != first
