import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.preprocessing import Spec
from keras_vit.system import limits
from keras_vit.training.datasets import check, digits, folders, manifest, shards
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


def change(folder, function):
    """index.json changed by function(its contents)."""
    index = json.loads((folder / "index.json").read_text())
    function(index)
    (folder / "index.json").write_text(json.dumps(index))


def described(path):
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": shards.sha256(path)}


ELSEWHERE = ["../train.index.npz", "/etc/passwd", "a/train.index.npz", "..\\train.index.npz", "", None, 3, ["x"]]


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("place", ["index", "shards"])
def test_a_path_in_the_index_that_leads_outside_its_folder_is_refused(tmp_path, written, name, place):
    (tmp_path / "train.index.npz").write_bytes((written / "train.index.npz").read_bytes())
    part = "index" if place == "index" else 0

    def elsewhere(index):
        files = index["parts"]["train"]
        (files if place == "index" else files["shards"])[part]["file"] = name

    change(written, elsewhere)
    for read in (shards.load, check.check):
        with pytest.raises(ValueError, match="index.json is damaged: a file of its part train must be train[.-]"):
            read(written)


def test_the_index_of_another_split_is_refused(written):
    change(written, lambda index: index["parts"]["train"].update(index=index["parts"]["val"]["index"]))
    with pytest.raises(ValueError, match="must be train.index.npz, not 'val.index.npz'"):
        shards.load(written)


def test_the_index_of_another_split_under_the_name_of_this_is_refused(written):
    (written / "train.index.npz").write_bytes((written / "val.index.npz").read_bytes())
    change(written, lambda index: index["parts"]["train"].update(index=described(written / "train.index.npz")))
    with pytest.raises(ValueError, match="train.index.npz does not match index.json: it has not 21 labels"):
        shards.load(written)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("labels", 3, "a class or a shard that there is not"),
        ("labels", -1, "a class or a shard that there is not"),
        ("shards", 3, "a class or a shard that there is not"),
        ("offsets", 2**62, "behind the end of its shard"),
        ("offsets", -1, "behind the end of its shard"),
        ("lengths", 2**62, "behind the end of its shard"),
    ],
)
def test_an_index_that_leads_behind_its_shards_is_refused(written, column, value, message):
    path = written / "train.index.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays[column][0] = value
    np.savez(path, **arrays)
    change(written, lambda index: index["parts"]["train"].update(index=described(path)))
    with pytest.raises(ValueError, match=f"train.index.npz does not match index.json: .*{message}"):
        shards.load(written)


@pytest.mark.parametrize(
    "function",
    [
        lambda index: index.pop("classes"),
        lambda index: index.update(classes=[1, 2, 3]),
        lambda index: index.update(classes=[]),
        lambda index: index.update(name=None),
        lambda index: index.update(parts=[]),
        lambda index: index["parts"].pop("train"),
        lambda index: index["parts"].update(other={}),
        lambda index: index["parts"]["train"].update(pictures=-1),
        lambda index: index["parts"]["train"].update(pictures=True),
        lambda index: index["parts"]["train"].update(shards=None),
        lambda index: index["parts"]["train"].update(index=None),
        lambda index: index["parts"]["train"]["shards"].pop(),
        lambda index: index["parts"]["train"]["index"].update(bytes="many"),
        lambda index: index["parts"]["train"]["index"].update(sha256=None),
    ],
)
def test_an_index_json_with_something_else_in_it_is_refused(written, function):
    change(written, function)
    with pytest.raises(ValueError, match="index.json is damaged"):
        shards.load(written)


def test_an_index_json_nested_too_deep_or_too_long_is_refused(written):
    for text in ("[" * 100_000, " " * (limits.MAX_HEADER + 1)):
        (written / "index.json").write_text(text)
        with pytest.raises(ValueError, match="index.json is damaged"):
            shards.load(written)


@pytest.fixture
def several(tmp_path, folder):
    """A manifest of the folder's images with two labels, one, or none, and its shards."""
    files = [path.relative_to(tmp_path) for path in sorted(folder.rglob("*.png"))]
    lines = [f"{file},{('big|red', 'green', '')[i % 3] if i > 1 else 'red'}" for i, file in enumerate(files)]
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    source = manifest.load(tmp_path / "m.csv")
    shards.write(source, tmp_path / "several", 2, root=tmp_path)
    return source, tmp_path / "several"


def test_several_labels_are_kept_and_are_lists_in_the_examples(several, tmp_path):
    source, written = several
    copy = shards.load(written)
    assert copy.multi_label and copy.classes == source.classes == ("big", "green", "red")
    assert json.loads((written / "index.json").read_text())["format"] == "keras_vit shards 2"
    for split, other in zip(source.splits().values(), copy.splits().values()):
        assert other.names == split.relative_names(tmp_path) and other.labels.dtype == "uint8"
        np.testing.assert_array_equal(other.labels, split.labels)
    labels = dict(zip(copy.train.names, copy.train.labels))
    for path in written.glob("train-*.tfrecord"):
        for content in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            features = tf.train.Example.FromString(content).features.feature
            numbers = list(features["image/class/label"].int64_list.value)
            assert numbers == np.flatnonzero(labels[features["image/filename"].bytes_list.value[0].decode()]).tolist()
            assert [source.classes[n].encode() for n in numbers] == features["image/class/text"].bytes_list.value


def test_an_index_of_several_labels_is_checked(several):
    _, written = several
    path = written / "train.index.npz"
    with np.load(path) as file:
        arrays = dict(file)
    for labels, message in (
        (2 * arrays["labels"], "its labels are not 0 and 1"),
        (arrays["labels"][:, 0].astype("int32"), "it has not 21 labels of 3 classes each"),
        (arrays["labels"].astype("int32"), "its numbers are no integers"),
    ):
        np.savez(path, **(arrays | {"labels": labels}))
        change(written, lambda index: index["parts"]["train"].update(index=described(path)))
        with pytest.raises(ValueError, match=f"train.index.npz does not match index.json: {message}"):
            shards.load(written)


def test_check_counts_the_images_of_every_class(several, written):
    source, of_several = several
    report = check.check(of_several)
    assert report.counts["train"] == dict(zip(source.classes, source.train.class_counts(3).tolist()))
    assert report.notes["labels per image"] == "0.963 on average, 0 to 2; 9 images have none"
    assert check.check(written).counts == {"train": dict.fromkeys(("blue", "green", "red"), 7)} | {
        name: dict.fromkeys(("blue", "green", "red"), 1) for name in ("val", "test")
    }
