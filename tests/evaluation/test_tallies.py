"""Recall, precision and F1 against scikit-learn, and means over the classes that have images."""

import numpy as np
import pytest
from sklearn import metrics

from keras_vit.evaluation.tallies import Tallies, tally

RNG = np.random.default_rng(0)
LABELS, PREDICTED = RNG.integers(0, 5, 200), RNG.integers(0, 6, 200)  # of 7 classes, 5 have images, one has nothing


def test_measures_of_the_classes_are_those_of_scikit_learn():
    found = tally(LABELS, PREDICTED, 7)
    present = {"labels": range(5), "average": None}
    np.testing.assert_allclose(found.recall[:5], metrics.recall_score(LABELS, PREDICTED, **present))
    np.testing.assert_allclose(found.precision[:5], metrics.precision_score(LABELS, PREDICTED, **present))
    np.testing.assert_allclose(found.f1[:5], metrics.f1_score(LABELS, PREDICTED, **present))
    assert np.isnan(found.recall[5:]).all() and np.isnan(found.f1[5:]).all()
    assert found.precision[5] == 0 and np.isnan(found.precision[6])


def test_means_are_over_the_classes_that_have_images():
    found = tally(LABELS, PREDICTED, 7)
    known = PREDICTED.copy()
    known[known == 5] = 0  # scikit-learn warns of predictions of unknown classes
    with_known = tally(LABELS, known, 7)
    assert with_known.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(LABELS, known))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(LABELS, PREDICTED, labels=range(5), average="macro"))
    assert found.micro_f1 == pytest.approx((LABELS == PREDICTED).mean())


def test_tallies_of_parts_add_up():
    whole, parts = tally(LABELS, PREDICTED, 7), [
        tally(LABELS[i], PREDICTED[i], 7) for i in (slice(50), slice(50, None))
    ]
    both = parts[0] + parts[1]
    for name in ("hits", "images", "predicted"):
        np.testing.assert_array_equal(getattr(both, name), getattr(whole, name))


def test_without_images_the_means_are_0():
    nothing = Tallies(*(np.zeros(3, "int64"),) * 3)
    assert (nothing.balanced_accuracy, nothing.macro_f1, nothing.micro_f1) == (0, 0, 0)
