"""Which classes outputs give, and how far two sets of them are apart."""

import dataclasses

import numpy as np
import pytest

from keras_vit.export.parity import outputs
from keras_vit.export.parity.parity import Expected, compare

THRESHOLDS = np.float32([0.5, 0.25, 0.75])
KERAS = np.float32([[0.9, 0.1, 0.8], [0.4, 0.2, 0.1], [0.6, 0.3, 0.9], [0.2, 0.9, 0.1]])


@pytest.fixture
def expected():
    """Four images; the Keras model is right of the first three."""
    classes = KERAS >= THRESHOLDS
    classes[3] = (True, True, False)
    files, images = ("a", "b", "c", "d"), np.zeros((4, 2, 2, 3), np.uint8)
    return Expected(files, "test", classes, images, KERAS, thresholds=THRESHOLDS, known=np.float32([9, 3, 8, 7]))


def from_bytes(k=3):
    """What a SavedModel gives for KERAS, k places."""
    ids = np.where(np.sort(np.where(KERAS >= THRESHOLDS, KERAS, -1), 1)[:, ::-1] >= 0, 1, 0)
    order = np.argsort(-np.where(KERAS >= THRESHOLDS, KERAS, -1), 1, kind="stable")
    scores = np.where(ids, np.take_along_axis(KERAS, order, 1), 0)
    return {"class_ids": np.where(ids, order, -1)[:, :k], "scores": scores[:, :k]}


def test_a_class_is_given_from_its_threshold_on():
    given = outputs.given_classes(np.float32([[0.5, 0.25, 0.7499]]), THRESHOLDS)
    assert given.tolist() == [[True, True, False]]
    assert outputs.given_classes(KERAS).tolist() == [0, 0, 2, 1]


def test_images_agree_where_all_decisions_do(expected):
    changed = KERAS.copy()
    changed[1, 1] = 0.26
    report = compare(expected, changed, expected.known)
    assert report["agreement"] == 0.75 and report["accuracy"] == 0.5 and report["keras_accuracy"] == 0.75
    assert compare(expected, KERAS)["agreement"] == 1


def test_logits_of_independent_probabilities_are_not_centred():
    logits = outputs.logits(np.float32([[0.5, 0.5], [0.9, 0.1]]), THRESHOLDS[:2])
    np.testing.assert_allclose(logits, [[0, 0], [np.log(9), -np.log(9)]], atol=1e-6)
    assert np.isfinite(outputs.logits(np.float32([[0, 1]]), THRESHOLDS[:2])).all()


def test_differences_of_known_scores_are_relative(expected):
    report = compare(expected, KERAS, expected.known + np.float32([0, 0, 0, 0.9]))
    assert report["largest_difference_of_known_scores"] == pytest.approx(0.1)
    assert "largest_difference_of_known_scores" not in compare(dataclasses.replace(expected, known=None), KERAS)


@pytest.mark.parametrize("k", [3, 1])
def test_scores_of_files_that_are_the_same_do_not_differ(expected, k):
    assert outputs.difference_from_bytes(from_bytes(k), expected, np.ones(4, bool)) == pytest.approx(0, abs=1e-7)


def test_a_label_too_few_and_one_too_many_are_differences(expected):
    found, all_of_them = from_bytes(), np.ones(4, bool)
    found["class_ids"][0, 1], found["scores"][0, 1] = -1, 0  # class 2, of 0.8, threshold 0.75
    assert outputs.difference_from_bytes(found, expected, all_of_them) == pytest.approx(0.05)
    found = from_bytes()
    found["class_ids"][1, 0], found["scores"][1, 0] = 2, 0.1  # threshold 0.75
    assert outputs.difference_from_bytes(found, expected, all_of_them) == pytest.approx(0.65)
    assert outputs.difference_from_bytes(found, expected, np.array([True, False, True, True])) == pytest.approx(0)
