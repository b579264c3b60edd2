import dataclasses

import numpy as np
import pytest

from keras_vit.export import budget
from keras_vit.export.parity import Expected

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]], np.float32)


@pytest.fixture
def two():
    return Expected(("a", "b"), "held-out", np.array([0, 1]), None, PROBABILITIES)


def judge(quantisation, expected, probabilities, **options):
    allowed = budget.limits(quantisation, expected, **options)
    found = budget.figures(expected, probabilities)
    return budget.within(found, allowed), budget.describe(found, allowed)


def test_float32_is_judged_by_difference(two):
    assert judge("none", two, PROBABILITIES + np.float32(9e-5))[0]
    good, text = judge("none", two, PROBABILITIES + np.float32(1.1e-4))
    assert not good and "largest difference 1.1e-04 (at most 1e-04)" in text
    assert not judge("none", two, PROBABILITIES * np.nan)[0]


def test_float16_is_judged_relative_to_the_largest_probability(two):
    close = PROBABILITIES + np.float32([[0.0069, 0, 0], [0, 0, 0]])
    assert judge("float16", two, close)[0]
    good, text = judge("float16", two, PROBABILITIES + np.float32([[0, 0, 0], [0, 0, 0.0051]]))
    assert not good and "relative difference 1.0e-02 (at most 1e-02)" in text
    tie = dataclasses.replace(two, probabilities=np.float32([[0.7, 0.2, 0.1], [0.45, 0.4499, 0.1001]]))
    assert not judge("float16", tie, np.float32([[0.7, 0.2, 0.1], [0.4499, 0.45, 0.1001]]))[0]  # an answer changed


@pytest.mark.parametrize("quantisation", ["dynamic_int8", "int8", "int16x8"])
def test_integers_are_judged_by_accuracy_and_agreement(two, quantisation):
    assert judge(quantisation, two, np.float32([[0.6, 0.3, 0.1], [0.45, 0.44, 0.11]]))[0]
    good, text = judge(quantisation, two, np.float32([[0.2, 0.7, 0.1], [0.5, 0.4, 0.1]]))
    assert not good and "accuracy 0.00 % (Keras 50.00 %, at most 0.5 points lost)" in text
    better = np.float32([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1]])  # more right answers, but others than Keras'
    assert not judge(quantisation, two, better)[0]
    assert judge(quantisation, two, better, max_loss=25)[0]


def test_noise_is_judged_by_cosine_alone(two):
    tie = np.float32([[0.7, 0.2, 0.1], [0.4501, 0.4499, 0.1]])
    noise = dataclasses.replace(two, kind="noise", classes=None, probabilities=tie)
    good, text = judge("int8", noise, np.float32([[0.7, 0.2, 0.1], [0.4499, 0.4501, 0.1]]))
    assert good and "agreement 50.00 %," in text
    good, text = judge("int8", noise, PROBABILITIES[:, ::-1])
    assert not good and "cosine of logits -" in text and "(at least 0.999)" in text
    assert not judge("int8", noise, PROBABILITIES * np.nan)[0]


def test_pictures_of_unknown_classes_are_judged_by_both(two):
    unknown = dataclasses.replace(two, kind="given", classes=None)
    assert budget.limits("int8", unknown) == {"agreement": 0.99, "cosine": 0.999}
    assert not judge("int8", unknown, np.float32([[0.98, 0.01, 0.01], [0.5, 0.4, 0.1]]))[0]


def test_what_is_rounded_counts_for_answers_and_not_for_logits(two):
    rounded = np.float32([[1, 0, 0], [0, 1, 0]])
    found = budget.figures(two, PROBABILITIES, rounded)
    assert (found["top1"], found["float_top1"], found["delta"], found["agreement"]) == (100, 50, 50, 0.5)
    assert found["cosine"] == pytest.approx(1) and found["largest_difference"] == pytest.approx(0.6)
    assert found["sqnr_db"] is None  # without any error


def test_sqnr_is_of_logits(two):
    logits = np.log(PROBABILITIES.astype("float64"))
    logits -= logits.mean(-1, keepdims=True)
    hotter = np.exp(1.1 * logits)  # every logit a tenth off: 20 dB
    found = budget.figures(two, hotter / hotter.sum(-1, keepdims=True))
    assert found["sqnr_db"] == pytest.approx(20)
