"""Counts against brute force, image by image."""

import numpy as np
import pytest

from keras_vit.evaluation.metrics import Accuracy, accuracy, confusion, most_confused, per_class, tallies_of
from tests.evaluation.toys import LABELS, random_predictions

PREDICTIONS = random_predictions(500, LABELS)


def matrix():
    counts = np.zeros((7, 7), int)
    for label, best in zip(PREDICTIONS.labels, PREDICTIONS.best):
        counts[label, best[0]] += 1
    return counts


def test_percentages_of_counts():
    counted = Accuracy(8, 5, 6, 3)
    assert (counted.top1, counted.top5) == (62.5, 75)


def test_accuracy():
    pairs = list(zip(PREDICTIONS.labels, PREDICTIONS.best))
    first, any_of = sum(label == best[0] for label, best in pairs), sum(label in best for label, best in pairs)
    assert accuracy(PREDICTIONS) == Accuracy(500, first, any_of, 5) and first < any_of < 500


def test_confusion_is_the_matrix_without_its_zeros():
    entries = confusion(PREDICTIONS)
    counts = np.zeros((7, 7), int)
    counts[entries[:, 0], entries[:, 1]] = entries[:, 2]
    np.testing.assert_array_equal(counts, matrix())
    assert (entries[:, 2] > 0).all() and entries.tolist() == sorted(entries.tolist())


def test_most_confused_first_and_equal_ones_in_order():
    mistakes = most_confused(np.array([[0, 0, 9], [0, 1, 2], [1, 0, 3], [1, 2, 2], [2, 0, 2], [2, 2, 1]]))
    assert mistakes.tolist() == [[1, 0, 3], [0, 1, 2], [1, 2, 2], [2, 0, 2]]
    assert len(most_confused(np.array([[0, 0, 9]]))) == 0


def test_per_class():
    counts, rows = matrix(), per_class(PREDICTIONS)
    assert [row.number for row in rows] == list(range(7))
    for row, line in zip(rows, counts):
        own = PREDICTIONS.labels == row.number
        assert (row.images, row.correct) == (line.sum(), line[row.number])
        assert row.correct5 == (PREDICTIONS.best[own] == row.number).any(1).sum()
        line[row.number] = 0
        assert (row.taken_for, row.times) == (line.argmax(), line.max())  # argmax: the first of equals


@pytest.mark.parametrize("right", [True, False])
def test_classes_without_images_or_mistakes(right):
    found = random_predictions(2, LABELS)
    found.best[:, 0] = found.labels if right else 6
    rows = per_class(found)
    assert [row.number for row in rows] == [0, 1]
    assert [(row.top1, row.taken_for, row.times) for row in rows] == [(100, None, 0) if right else (0, 6, 1)] * 2


def test_tallies_count_the_best_prediction():
    tallies, rows = tallies_of(PREDICTIONS), per_class(PREDICTIONS)
    assert [100 * recall for recall in tallies.recall] == pytest.approx([row.top1 for row in rows])
    assert tallies.predicted.tolist() == matrix().sum(0).tolist()
