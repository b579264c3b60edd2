"""Parts of shards: however they were written, merged they are the bytes of one run; what does not belong is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_vit.training.datasets import folders, manifest, shard_parts, shards
from tests.training.toy import write_folder

SHARDS = 5


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("images") / "d", per_class=9)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "shards"
    shards.write(folders.load(images), folder, SHARDS, root=images)
    return contents(folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(images, folder, part, count=SHARDS, seed=0):
    return shard_parts.write_part(folders.load(images, seed), folder, count, part, root=images)


@pytest.fixture
def parts(images, tmp_path):
    """The folder of all of three parts, which are written."""
    for number in (3, 1, 2):
        write(images, tmp_path / "shards", (number, 3))
    return tmp_path / "shards"


@pytest.mark.parametrize("count", [1, 2, 7])
def test_merged_parts_are_the_bytes_of_one_run(images, whole, tmp_path, count):
    written = [write(images, tmp_path / "shards.v1", (number, count)) for number in range(1, count + 1)]
    assert sum(part.images for part in written) == 27 and sum(part.files for part in written) == 7
    assert [part.folder.name for part in written][0] == f"shards-00001-of-{count:05}.v1"
    index = shard_parts.merge(tmp_path / "shards.v1")
    assert contents(tmp_path / "shards.v1") == whole
    assert index == json.loads(whole["index.json"]) and all(part.folder.is_dir() for part in written)
    assert len(shards.load(tmp_path / "shards.v1").train) == 21


def test_several_labels_stay(images, tmp_path):
    rows = [f"d/{path.parent.name}/{path.name},{path.parent.name}|more" for path in sorted(images.rglob("*.png"))]
    (images.parent / "m.csv").write_text("\n".join(["path,label", *rows]))
    data_set = manifest.load(images.parent / "m.csv")
    assert data_set.multi_label
    shards.write(data_set, tmp_path / "whole", 2, root=images.parent)
    for number in (1, 2):
        shard_parts.write_part(data_set, tmp_path / "shards", 2, (number, 2), root=images.parent)
    shard_parts.merge(tmp_path / "shards")
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")


def test_an_interrupted_part_goes_on(images, whole, tmp_path, monkeypatch):
    """A file that was begun is written again, one that is complete is not."""
    data_set, folder, progress = folders.load(images), tmp_path / "shards", []

    def interrupted(count):
        progress.append(count)
        if len(progress) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shard_parts.write_part(data_set, folder, SHARDS, (1, 1), images, interrupted)
    part = tmp_path / "shards-00001-of-00001"
    first, third = "train-00000-of-00005.tfrecord", "train-00002-of-00005.tfrecord"
    (part / f"{third}.json").unlink()  # killed before the file was complete
    (part / third).write_bytes(b"half")
    before = (part / first).stat().st_mtime_ns
    with pytest.raises(FileNotFoundError, match="5 files of .* are missing: train-00002"):
        shard_parts.merge(folder)
    written = shard_parts.write_part(data_set, folder, SHARDS, (1, 1), images)
    assert (written.files, written.images, written.earlier) == (7, 27, 2)
    assert (part / first).stat().st_mtime_ns == before
    shard_parts.merge(folder)
    assert contents(folder) == whole


def test_a_part_that_is_complete_stays(images, parts):
    before = contents(parts.with_name("shards-00002-of-00003"))
    assert write(images, parts, (2, 3)).earlier == 2
    assert contents(parts.with_name("shards-00002-of-00003")) == before


@pytest.mark.parametrize(
    "other, message",
    [
        ({"seed": 1}, "it has another list of images"),
        ({"count": 4}, "it has another number of shards, 7 then and 6 now"),
    ],
)
def test_parts_of_other_sources_or_settings_are_refused(images, parts, other, message):
    shutil.rmtree(parts.with_name("shards-00002-of-00003"))
    write(images, parts, (2, 3), **other)
    with pytest.raises(ValueError, match=f"shards-00002-of-00003 is no part of the same data set as .*: {message}"):
        shard_parts.merge(parts)
    assert not parts.exists()


def test_a_part_is_not_continued_from_another_source(images, parts):
    before = contents(parts.with_name("shards-00002-of-00003"))
    with pytest.raises(ValueError, match="shards-00002-of-00003 was begun from another list of images"):
        write(images, parts, (2, 3), seed=1)
    assert contents(parts.with_name("shards-00002-of-00003")) == before


def test_missing_parts_are_named(images, parts):
    shutil.rmtree(parts.with_name("shards-00002-of-00003"))
    with pytest.raises(FileNotFoundError, match="1 parts of .* are missing: shards-00002-of-00003"):
        shard_parts.merge(parts)
    with pytest.raises(FileNotFoundError, match="There is no part of .*other: expected other-00001-of-00002"):
        shard_parts.merge(parts.with_name("other"))
    write(images, parts, (1, 2))
    with pytest.raises(ValueError, match="is there in 2 and in 3 parts"):
        shard_parts.merge(parts)


def test_a_file_that_was_copied_by_half_is_named(parts):
    file = parts.with_name("shards-00001-of-00003") / "train-00000-of-00005.tfrecord"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train-00000-of-00005.tfrecord is not what was written: \d+ bytes, not"):
        shard_parts.merge(parts)
    assert not parts.exists()


def test_a_damaged_description_is_named(parts):
    (parts.with_name("shards-00001-of-00003") / shard_parts.PART).write_text("{")
    with pytest.raises(ValueError, match="part.json is damaged"):
        shard_parts.merge(parts)


def test_what_exists_stays(images, parts):
    shard_parts.merge(parts)
    before = contents(parts)
    with pytest.raises(FileExistsError, match="shards exists already"):
        shard_parts.merge(parts)
    with pytest.raises(FileExistsError, match="shards exists already"):
        write(images, parts, (1, 3))
    other = parts.with_name("other-00001-of-00002")
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is no part of a data set"):
        write(images, parts.with_name("other"), (1, 2))
    assert contents(parts) == before and [*contents(other)] == ["mine.txt"]


def test_more_parts_than_shards_are_refused(images, tmp_path):
    with pytest.raises(ValueError, match="7 shards make at most 7 parts. Received: part 1 of 8"):
        write(images, tmp_path / "shards", (1, 8))
    assert list(tmp_path.iterdir()) == []


def test_files_are_copied_where_they_cannot_be_linked(parts, whole, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    shard_parts.merge(parts)
    assert contents(parts) == whole


def test_an_image_that_cannot_be_read_leaves_a_part_that_goes_on(images, whole, tmp_path):
    data_set = folders.load(images)
    file = Path(data_set.validation.names[0])
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(FileNotFoundError):
        shard_parts.write_part(data_set, tmp_path / "shards", SHARDS, (1, 1), images)
    file.write_bytes(content)
    assert shard_parts.write_part(data_set, tmp_path / "shards", SHARDS, (1, 1), images).earlier == 5
    shard_parts.merge(tmp_path / "shards")
    assert contents(tmp_path / "shards") == whole


def test_labels_keep_their_type(parts):
    shard_parts.merge(parts)
    assert np.load(parts / "train.index.npz")["labels"].dtype == np.int32
