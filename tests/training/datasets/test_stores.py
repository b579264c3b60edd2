"""A data set in an object store is the data set on a disk: its fingerprint, its order, its batches, its bad images."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.preprocessing import Spec
from keras_vit.system import remote
from keras_vit.system.remote import UnreachableError
from keras_vit.training.datasets import folders, manifest, records, shards
from keras_vit.training.datasets.check import check
from keras_vit.training.datasets.splits import fingerprint
from keras_vit.training.pipeline.batches import evaluation_batches, prepare, training_batches
from tests.stores import breaking, put, store_in_memory
from tests.training.toy import recipe, write_folder

SPEC = Spec((8, 8), (0.5,) * 3, (0.5,) * 3)
KINDS = {"photos": folders, "list.csv": manifest, "shards": shards}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder with a data set as class folders, of which one image is bad, as a manifest and as shards."""
    folder = tmp_path_factory.mktemp("tree")
    photos = write_folder(folder / "photos", per_class=9)
    images = sorted(photos.rglob("*.*"))
    for bad in images[4], images[10], images[20]:  # of which some are in train, however they are divided
        bad.write_bytes(bad.read_bytes()[:40])
    (photos / "notes.txt").write_text("no image")
    rows = [f"{image.relative_to(folder)},{image.parent.name}" for image in images]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]))
    shards.write(folders.load(photos), folder / "shards", 2, root=photos)
    return folder


@pytest.fixture
def copy(tree, monkeypatch):
    """The URL of its copy in a store."""
    with store_in_memory(monkeypatch):
        yield put(tree, "memory://bucket/tree")


def batches(split, **changes):
    prepared = prepare(split, SPEC, max_bad_fraction=0.2, **changes)
    trained = training_batches(prepared, recipe(epochs=1, mixup=0.8), 4)
    found = [np.asarray(value) for batch in (*trained, *evaluation_batches(prepared, 4)) for value in batch]
    return found, sorted(index for index, *_ in prepared.quarantine.state())  # found by several threads


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_is_the_same_data_set(tree, copy, name):
    local, stored = (KINDS[name].load(f"{place}/{name}") for place in (tree, copy))
    assert stored.classes == local.classes and stored.name == local.name and stored.notes == local.notes
    assert fingerprint(stored, f"{copy}/{name}") == fingerprint(local, f"{tree}/{name}")
    read, indices = stored.train.reader(), [3, 0, 5, 1]
    found = tf.data.Dataset.from_tensor_slices(np.array(indices)).map(read).as_numpy_iterator()
    assert list(found) == [local.train.read(i) for i in indices] == [stored.train.read(i) for i in indices]


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_batches_of_a_copy_are_those_of_the_original_to_the_bit(tree, copy, name):
    local, stored = (KINDS[name].load(f"{place}/{name}") for place in (tree, copy))
    for cache in (0, 2**20):
        (expected, bad), (found, also_bad) = (batches(one.train, cache_bytes=cache) for one in (local, stored))
        assert bad and also_bad == bad and len(found) == len(expected)
        for one, other in zip(found, expected):
            np.testing.assert_array_equal(one, other)


def test_after_some_that_are_unreachable_no_other_is_tried(copy, monkeypatch):
    read = folders.load(f"{copy}/photos").train.reader()
    calls = breaking(monkeypatch, "cat_file", itertools.repeat(OSError("line is down")))
    images = tf.data.Dataset.range(9).map(read, num_parallel_calls=2)
    assert list(images.ignore_errors()) == []
    assert len(calls) <= 2 * remote.TRIES  # those that were asked for at the same time


@pytest.mark.slow
@pytest.mark.parametrize("cache", [0, 2**20])
@pytest.mark.parametrize("name", ["photos", "shards"])
def test_a_store_that_does_not_answer_is_no_bad_image(copy, name, cache, monkeypatch):
    split = KINDS[name].load(f"{copy}/{name}").train
    calls = breaking(monkeypatch, "cat_file", itertools.chain(5 * [None], itertools.repeat(OSError("line is down"))))
    message = r"memory://bucket/tree/.* could not be reached: tried 5 times.*line is down"
    with pytest.raises(UnreachableError, match=message), records.named_failures():
        batches(split, cache_bytes=cache)
    assert len(calls) < 5 + 5 * 30  # the others are not tried, each for as long, in its place


def test_credentials_that_expire_are_no_bad_image(copy, monkeypatch):
    split = folders.load(f"{copy}/photos").train
    calls = breaking(monkeypatch, "cat_file", itertools.repeat(PermissionError("ExpiredToken")))
    message = r"photos/.* is refused \(PermissionError: ExpiredToken\)"
    read = split.reader()
    with pytest.raises(UnreachableError, match=message), records.named_failures():
        list(tf.data.Dataset.range(3).map(read))
    assert len(calls) == 1
    with pytest.raises(UnreachableError, match=message):
        check(f"{copy}/photos", workers=1)


def test_a_damaged_record_is_detected_in_a_store_too(tree, copy):
    split = shards.load(f"{copy}/shards").train
    path = split.records.files[split.records.shards[0]]
    content = bytearray(remote.read(path))
    content[int(split.records.offsets[0]) + 60] ^= 1
    remote.write(path, bytes(content))
    with pytest.raises(ValueError, match="shards/train-.* is damaged at byte .*: the checksum of its record differs"):
        split.read(0)


@pytest.mark.parametrize("name", KINDS)
def test_check_data_finds_the_same(tree, copy, name):
    local, stored = (check(f"{place}/{name}", workers=1) for place in (tree, copy))
    assert stored == local and (name == "shards") != stored.serious


def test_what_a_store_lacks_is_named(copy):
    with pytest.raises(ValueError, match="data_dir is not a folder: memory://bucket/nowhere"):
        folders.load("memory://bucket/nowhere")
    with pytest.raises(ValueError, match="There is no file memory://bucket/nowhere.csv"):
        manifest.load("memory://bucket/nowhere.csv")
    with pytest.raises(ValueError, match=r"memory://bucket/tree holds no shards: it has no index.json"):
        shards.load(copy)
    remote.remove(f"{copy}/shards/train-00001-of-00002.tfrecord")
    with pytest.raises(ValueError, match="train-00001-of-00002.tfrecord does not match index.json: no such file"):
        shards.load(f"{copy}/shards")
