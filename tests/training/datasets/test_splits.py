from pathlib import Path

import numpy as np
import pytest

from keras_vit.training.datasets.splits import DataSet, Split, fingerprint, stratified_split, write_images


def test_subsets_are_disjoint_complete_and_of_the_given_sizes():
    labels = np.random.default_rng(0).integers(0, 7, 203)
    subsets = stratified_split(labels, (150, 33, 20), seed=1)
    assert [len(subset) for subset in subsets] == [150, 33, 20]
    assert sorted(np.concatenate(subsets)) == list(range(203))


def test_every_class_is_in_proportion_to_within_one_image():
    labels = np.repeat([0, 1, 2], [10, 30, 61])
    first, _ = stratified_split(labels, (50, 51), seed=3)
    counts = np.bincount(labels[first])
    assert np.abs(counts - np.array([10, 30, 61]) * 50 / 101).max() < 1


def test_the_seed_determines_the_division():
    labels = np.arange(60) % 3
    one, same, other = (stratified_split(labels, (30, 30), seed)[0] for seed in (5, 5, 6))
    assert (one == same).all() and (one != other).any()


def test_sizes_that_do_not_add_up_are_an_error():
    with pytest.raises(ValueError, match="sum to 4"):
        stratified_split([0, 0, 1, 1], (2, 1), seed=0)


def test_images_in_memory_become_files(tmp_path):
    split = Split(("a/1.png", "b/2.png"), np.array([0, 1]), (b"one", b"two"))
    written = write_images(split, tmp_path)
    assert written.encoded is None
    assert [Path(name).read_bytes() for name in written.names] == [b"one", b"two"]
    assert written.names == write_images(split, tmp_path).names
    assert write_images(written, tmp_path) is written


def test_take_keeps_names_labels_and_bytes_together():
    split = Split(("a", "b", "c"), np.array([0, 1, 2]), (b"A", b"B", b"C")).take([2, 0])
    assert split.names == ("c", "a") and list(split.labels) == [2, 0] and split.encoded == (b"C", b"A")


def test_read_and_reader_give_the_same_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(b"A"), (tmp_path / "b.png").write_bytes(b"BB")
    files = Split((str(tmp_path / "a.png"), str(tmp_path / "b.png")), np.array([0, 1]))
    memory = Split(("a.png", "b.png"), np.array([0, 1]), (b"A", b"BB"))
    for split in (files, memory):
        read = split.reader()
        assert [split.read(i) for i in (1, 0)] == [read(np.int64(i)).numpy() for i in (1, 0)] == [b"BB", b"A"]
    assert files.are_files and not memory.are_files


def test_the_fingerprint_depends_on_the_images_and_not_on_where_they_lie():
    def of(root, names=("1.png", "2.png"), labels=(0, 1), encoded=None):
        names = tuple(f"{root}/{name}" for name in names) if encoded is None else names
        split = Split(names, np.array(labels), encoded)
        return fingerprint(DataSet("d", ("a", "b"), split, split.take([0]), split.take([1])), root)

    first = of("/x")
    assert first == of("/y")
    others = [of("/x", names=("1.png", "3.png")), of("/x", labels=(1, 0)), of("/x", encoded=(b"1", b"2"))]
    assert len({first, *others, of("/x", encoded=(b"1", b"3"))}) == 5
