import numpy as np
import pytest

from keras_vit.training.datasets import evenness
from keras_vit.training.datasets.splits import DataSet, Split
from tests.training.toy import recipe


def data_set(labels, classes=("a", "b", "c")):
    split = Split(tuple(map(str, range(len(labels)))), np.asarray(labels))
    return DataSet("toy", classes, split, split, split)


@pytest.mark.parametrize(
    "counts, text",
    [
        ((6, 6, 6), "6"),
        ((60, 6000, 500), "60 (a) to 6,000 (b), 100 : 1"),
        ((6, 4, 9), "4 (b) to 9 (c), 2.25 : 1"),
        ((0, 4, 9), "0 (a) to 9 (c)"),
    ],
)
def test_the_spread_names_the_rarest_and_the_largest_class(counts, text):
    assert evenness.spread(("a", "b", "c"), counts) == text


@pytest.mark.parametrize(
    "labels, text",
    [
        ([[1, 1, 0], [0, 1, 0]], "1.5 on average, 1 to 2"),
        ([[1, 1, 0], [0, 0, 0]], "1 on average, 0 to 2; 1 image has none"),
        ([[1, 1, 1], [0, 0, 0], [0, 0, 0]], "1 on average, 0 to 3; 2 images have none"),
    ],
)
def test_labels_per_image_are_counted(labels, text):
    assert evenness.labels_per_image(np.uint8(labels)) == text


@pytest.mark.parametrize(
    "counts, changes, text",
    [
        ((5, 5, 9), {}, None),  # nearly even, nothing is done: not worth a line
        ((5, 5, 10), {}, "5 (a) to 10 (c), 2 : 1"),
        ((1, 5, 10), {}, "1 (a) to 10 (c), 10 : 1; nothing is done about it: see class_weights and sampler"),
        ((5, 5, 5), {"sampler": "balanced"}, "5; each class drawn as often"),
        ((1, 5, 10), {"class_weights": "w.csv"}, "1 (a) to 10 (c), 10 : 1; weighted by w.csv"),
        (
            (1, 5, 10),
            {"class_weights": "effective", "sampler": "sqrt", "loss": "focal"},
            "1 (a) to 10 (c), 10 : 1; weighted by their effective number of images, drawn by the square root of their "
            "images, focal loss",
        ),
    ],
)
def test_a_runs_header_says_what_is_uneven_and_what_is_done_about_it(counts, changes, text):
    labels = np.repeat(np.arange(3, dtype="int32"), counts)
    assert evenness.notes(data_set(labels), recipe(**changes)).get("images per class") == text


def test_of_several_labels_their_number_is_told_too():
    found = evenness.notes(data_set(np.uint8([[1, 0, 0], [1, 1, 1]])), recipe())
    assert found == {"labels per image": "2 on average, 1 to 3", "images per class": "1 (b) to 2 (a), 2 : 1"}
