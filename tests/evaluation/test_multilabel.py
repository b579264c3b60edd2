"""Average precision and F1 against scikit-learn, thresholds against trying all of them."""

import numpy as np
import pytest
from sklearn import metrics

from keras_vit.evaluation import accuracy
from keras_vit.evaluation.multilabel import (
    average_precision,
    average_precisions,
    best_thresholds,
    exact_matches,
    mean_average_precision,
    tally_several,
)
from tests.evaluation.toys import several_predictions

RNG = np.random.default_rng(1)
SCORES = np.round(RNG.random((300, 6)), 2).astype("float32")  # with equal ones
LABELS = (RNG.random((300, 6)) < 0.7 * SCORES).astype("uint8")


def test_average_precision_is_that_of_scikit_learn():
    expected = metrics.average_precision_score(LABELS, SCORES, average=None)
    np.testing.assert_allclose(average_precisions(SCORES, LABELS), expected, atol=1e-12)
    assert mean_average_precision(SCORES, LABELS) == pytest.approx(expected.mean(), abs=1e-12)


def test_average_precision_by_hand():
    assert average_precision([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0]) == 0.25  # equal scores are taken together
    assert np.isnan(average_precision([0.5, 0.4], [0, 0])) and np.isnan(average_precision([], []))


def test_classes_without_images_are_no_part_of_the_mean():
    labels = LABELS.copy()
    labels[:, 2] = 0
    rest = [0, 1, 3, 4, 5]
    assert mean_average_precision(SCORES, labels) == mean_average_precision(SCORES[:, rest], labels[:, rest])
    assert mean_average_precision(SCORES, 0 * LABELS) == 0


@pytest.mark.parametrize("thresholds", [0.5, (0.1, 0.3, 0.5, 0.7, 0.9, 0.25)])
def test_f1_and_exact_matches_are_those_of_scikit_learn(thresholds):
    predicted = SCORES >= np.float32(thresholds)
    found = tally_several(SCORES, LABELS, thresholds)
    assert found.micro_f1 == pytest.approx(metrics.f1_score(LABELS, predicted, average="micro"))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(LABELS, predicted, average="macro"))
    np.testing.assert_allclose(found.precision, metrics.precision_score(LABELS, predicted, average=None))
    assert exact_matches(SCORES, LABELS, thresholds).mean() == metrics.accuracy_score(LABELS, predicted)


def test_no_threshold_has_a_higher_f1():
    best = best_thresholds(SCORES, LABELS)
    assert best.dtype == "float32" and best.shape == (6,)
    found = tally_several(SCORES, LABELS, best).f1
    every = [tally_several(SCORES, LABELS, threshold).f1 for threshold in np.unique(SCORES)]
    np.testing.assert_allclose(found, np.max(every, axis=0), atol=1e-12)


def test_a_threshold_lies_between_the_scores_that_it_divides():
    labels = [[1], [1], [0], [0]]
    assert best_thresholds(np.array([[0.9], [0.7], [0.2], [0.1]]), labels)[0] == pytest.approx(0.45)
    near = np.nextafter(np.float32(0.7), np.float32(0))  # the next number of the type: nothing lies between
    scores = np.array([[0.9], [0.7], [near], [0.1]], "float32")
    assert tally_several(scores, labels, best_thresholds(scores, labels)).micro_f1 == 1


@pytest.mark.parametrize("next_score, expected", [(0.1, 0.35), (0.58, 0.59), (0.0, 0.8)])
def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken(next_score, expected):
    """F1 is 1/2 for the first image alone and for the first five: of 3 with the class, 1 of 1 and 2 of 5 are found."""
    fifth = 0.6 if next_score else 0.02
    scores = [0.9, 0.7, 0.65, 0.62, fifth, *[next_score] * 10, next_score / 2]
    labels = [1, 0, 0, 0, 1, *[0] * 10, 1]
    found = best_thresholds(np.array(scores)[:, None], np.array(labels)[:, None])
    assert found[0] == pytest.approx(expected)


def test_a_class_that_all_images_have_or_none_gets_a_half():
    assert best_thresholds(np.array([[0.9, 0.1], [0.8, 0.3]]), [[1, 0], [1, 0]]).tolist() == [0.5, 0.5]


def test_shapes_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match=r"the same shape, \(images, classes\). Received: \(300, 6\), \(300,\)"):
        mean_average_precision(SCORES, LABELS[:, 0])


def test_the_accuracy_of_predictions():
    found = several_predictions()
    measured = accuracy(found)
    assert measured.map == mean_average_precision(found.scores, found.labels)
    assert measured.exact == (found.predicted == found.labels).all(1).sum() and measured.images == len(found.paths)
    assert measured.measures == {"map": 100 * measured.map, "macro_f1": 100 * measured.tallies.macro_f1}
