"""Test images are copied into the run where they are small in total, and the run then refers to the copies."""

import os

import numpy as np
import pytest

from keras_vit.training.datasets.splits import Split
from keras_vit.training.run import kept_images


@pytest.fixture
def split(tmp_path):
    """Six images of 100 bytes in two class folders, one of them deeper."""
    names = [tmp_path / "data" / "test" / ("ant", "bee/deep")[n % 2] / f"{n}.png" for n in range(6)]
    for number, path in enumerate(names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 100)
    return Split(tuple(map(str, names)), np.arange(6, dtype="int32") % 2)


def test_the_copies_take_the_place_of_the_files(split, tmp_path):
    run = tmp_path / "run"
    assert kept_images.kept(split, run).names == split.names  # before there are any
    kept_images.keep(split, run)
    kept = kept_images.kept(split, run)
    assert kept.names[:2] == (str(run / "held_out/ant/0.png"), str(run / "held_out/bee/deep/1.png"))
    assert [kept.read(n) for n in range(6)] == [split.read(n) for n in range(6)]
    np.testing.assert_array_equal(kept.labels, split.labels)


@pytest.mark.parametrize("limit, copied", [(600, True), (599, False)])
def test_only_images_that_are_small_in_total_are_copied(split, tmp_path, monkeypatch, limit, copied):
    monkeypatch.setattr(kept_images, "LIMIT", limit)
    kept_images.keep(split, tmp_path / "run")
    assert (tmp_path / "run" / "held_out").exists() == copied
    assert (kept_images.kept(split, tmp_path / "run").names != split.names) == copied


def test_a_file_that_is_not_there_stays_in_the_list(split, tmp_path):
    os.remove(split.names[2])
    kept_images.keep(split, tmp_path / "run")
    names = kept_images.kept(split, tmp_path / "run").names
    assert names[2] == split.names[2] and all("held_out" in name for n, name in enumerate(names) if n != 2)


def test_an_image_that_changed_is_copied_again_and_others_are_not(split, tmp_path):
    kept_images.keep(split, tmp_path / "run")
    names = kept_images.kept(split, tmp_path / "run").names
    before = [os.stat(name).st_mtime_ns for name in names]
    with open(split.names[3], "wb") as file:
        file.write(b"other")
    kept_images.keep(split, tmp_path / "run")
    assert [os.stat(name).st_mtime_ns == then for name, then in zip(names, before)] == [n != 3 for n in range(6)]
    with open(names[3], "rb") as file:
        assert file.read() == b"other"


@pytest.mark.parametrize("names", [(), ("only/one.png",), ("a/same.png", "b/same.png"), ("a/1.png", "a/1.png")])
def test_any_list_of_files_has_a_place_for_each(tmp_path, monkeypatch, names):
    monkeypatch.chdir(tmp_path)
    for name in names:
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "w") as file:
            file.write(name)
    split = Split(names, np.zeros(len(names), "int32"))
    kept_images.keep(split, "run")
    kept = kept_images.kept(split, "run")
    assert [kept.read(n).decode() for n in range(len(names))] == list(names)
    assert all("held_out" in name and ".." not in name for name in kept.names)


def test_images_that_are_no_files_stay(tmp_path):
    split = Split(("a", "b"), np.zeros(2, "int32"), encoded=(b"1", b"2"))
    kept_images.keep(split, tmp_path / "run")
    assert kept_images.kept(split, tmp_path / "run") is split and not (tmp_path / "run").exists()
