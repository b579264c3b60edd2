from pathlib import Path

import numpy as np
import pytest

from keras_vit.training.parts import Part, stratified, write_pictures


def test_parts_are_disjoint_complete_and_of_the_asked_sizes():
    labels = np.random.default_rng(0).integers(0, 7, 203)
    parts = stratified(labels, (150, 33, 20), seed=1)
    assert [len(p) for p in parts] == [150, 33, 20]
    assert sorted(np.concatenate(parts)) == list(range(203))


def test_every_class_has_its_share_to_within_a_picture():
    labels = np.repeat([0, 1, 2], [10, 30, 61])
    first, _ = stratified(labels, (50, 51), seed=3)
    counts = np.bincount(labels[first])
    assert np.abs(counts - np.array([10, 30, 61]) * 50 / 101).max() < 1


def test_the_seed_decides():
    labels = np.arange(60) % 3
    one, same, other = (stratified(labels, (30, 30), seed)[0] for seed in (5, 5, 6))
    assert (one == same).all() and (one != other).any()


def test_sizes_must_add_up():
    with pytest.raises(ValueError, match="sum to 4"):
        stratified([0, 0, 1, 1], (2, 1), seed=0)


def test_pictures_in_memory_become_files(tmp_path):
    part = Part(("a/1.png", "b/2.png"), np.array([0, 1]), (b"one", b"two"))
    written = write_pictures(part, tmp_path)
    assert written.encoded is None
    assert [Path(name).read_bytes() for name in written.names] == [b"one", b"two"]
    assert written.names == write_pictures(part, tmp_path).names
    assert write_pictures(written, tmp_path) is written


def test_take_keeps_names_labels_and_bytes_together():
    part = Part(("a", "b", "c"), np.array([0, 1, 2]), (b"A", b"B", b"C")).take([2, 0])
    assert part.names == ("c", "a") and list(part.labels) == [2, 0] and part.encoded == (b"C", b"A")
