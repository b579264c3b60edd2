from pathlib import Path

import numpy as np
import pytest

from keras_vit.training.datasets.splits import DataSet, Split, assemble, fingerprint, stratified_split, write_images


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


def divided(labels, seed=0, splits=("all",)):
    """The labels of train, validation and test, divided from one split."""
    labels = np.asarray(labels, "int32")
    whole = Split(tuple(map(str, range(len(labels)))), labels)
    names = tuple(f"class {i}" for i in range(labels.max() + 1))
    return assemble("d", names, dict.fromkeys(splits, whole), seed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "sizes", [(50, 40, 3), (9, 9, 9, 9), (12, 4, 4, 4), (100, 2, 2), (30, 1, 1, 1, 1), (5, *[1] * 10), (4, 4, *[2] * 6)]
)
@pytest.mark.parametrize("given", ["all", "train"])
def test_every_class_has_an_image_in_train_and_valid_divisions_are_as_ever(sizes, seed, given):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    fractions = 2 if given == "all" else 1
    sizes = [max(1, round(len(labels) * 0.1))] * fractions
    *others, train = stratified_split(labels, (*sizes, len(labels) - sum(sizes)), seed)
    data_set = divided(labels, seed, (given,))
    assert set(data_set.train.labels) == set(labels)
    assert [len(data_set.train), len(data_set.validation)] == [len(train), len(others[0])]
    images = [
        name for split in ("train", "validation", "test")[: 1 + fractions] for name in data_set.splits()[split].names
    ]
    assert sorted(map(int, images)) == list(range(len(labels)))
    if set(labels[train]) == set(labels):
        for split, indices in zip(data_set.splits().values(), (train, *others)):
            assert split.names == tuple(map(str, indices))


def test_some_of_those_divisions_had_left_a_class_out():
    labels = np.repeat(np.arange(11), (5, *[1] * 10))
    *_, train = stratified_split(labels, (2, 2, 11), 0)
    assert len(set(labels[train])) < 11


def test_images_are_exchanged_in_the_same_way_each_time_and_stay_sorted():
    labels = np.repeat(np.arange(11), (5, *[1] * 10))
    one, same = divided(labels), divided(labels)
    assert one.train.names == same.train.names == tuple(map(str, sorted(map(int, one.train.names))))
    assert set(one.train.labels) == set(range(11))


@pytest.mark.parametrize("classes, without", [(10, 2), (3, 2), (100, 20)])
def test_more_classes_than_training_images_are_an_error_that_counts_them(classes, without):
    message = (
        f"{without} of {classes} classes have no image in train.*'class .*{classes - without} of {classes} images are"
    )
    with pytest.raises(ValueError, match=message):
        divided(range(classes))


def test_classes_without_images_in_given_splits():
    def split(*labels):
        return Split(tuple(map(str, labels)), np.array(labels, "int32"))

    names = ("cat", "dog", "fish", "owl")
    with pytest.raises(ValueError, match="1 of 4 classes .*: 'owl'. They have 2 images in val, 1 images in test"):
        assemble("d", names, {"train": split(0, 1, 2), "val": split(3, 3), "test": split(3, 0)})
    with pytest.raises(ValueError, match="2 of 4 classes .*: 'fish', 'owl'. 3 of 4 images are for training"):
        assemble("d", names, {"train": split(0, 1, 1), "val": split(0)})
    data_set = assemble("d", names, {"train": split(0, 1, 2, 3), "val": split(0), "test": split(0, 1, 2, 3)})
    assert data_set.notes == {"few images": "validation has none of 3 of 4 classes: dog, fish, owl"}
