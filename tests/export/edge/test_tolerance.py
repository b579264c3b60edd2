import dataclasses

import numpy as np
import pytest

from keras_vit.export.edge import tolerance
from keras_vit.export.parity.parity import Expected

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]], np.float32)


@pytest.fixture
def two():
    return Expected(("a", "b"), "test", np.array([0, 1]), None, PROBABILITIES)


def check(quantization, expected, probabilities, **options):
    allowed = tolerance.limits(quantization, expected, **options)
    found = tolerance.figures(expected, {"probabilities": probabilities})
    return tolerance.within(found, allowed), tolerance.describe(found, allowed)


def test_float32_is_checked_by_difference(two):
    assert check("none", two, PROBABILITIES + np.float32(9e-5))[0]
    good, text = check("none", two, PROBABILITIES + np.float32(1.1e-4))
    assert not good and "largest difference 1.1e-04 (at most 1e-04)" in text
    assert not check("none", two, PROBABILITIES * np.nan)[0]


def test_float16_is_checked_relative_to_the_largest_probability(two):
    close = PROBABILITIES + np.float32([[0.0069, 0, 0], [0, 0, 0]])
    assert check("float16", two, close)[0]
    good, text = check("float16", two, PROBABILITIES + np.float32([[0, 0, 0], [0, 0, 0.0051]]))
    assert not good and "relative difference 1.0e-02 (at most 1e-02)" in text
    tie = dataclasses.replace(two, probabilities=np.float32([[0.7, 0.2, 0.1], [0.45, 0.4499, 0.1001]]))
    assert not check("float16", tie, np.float32([[0.7, 0.2, 0.1], [0.4499, 0.45, 0.1001]]))[0]  # a best class changed


@pytest.mark.parametrize("quantization", ["dynamic_int8", "int8", "int16x8"])
def test_integers_are_checked_by_accuracy_and_agreement(two, quantization):
    assert check(quantization, two, np.float32([[0.6, 0.3, 0.1], [0.45, 0.44, 0.11]]))[0]
    good, text = check(quantization, two, np.float32([[0.2, 0.7, 0.1], [0.5, 0.4, 0.1]]))
    assert not good and "accuracy 0.00 % (Keras 50.00 %, at most 0.5 points lost)" in text
    better = np.float32([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1]])  # higher accuracy, but other best classes than Keras'
    assert not check(quantization, two, better)[0]
    assert check(quantization, two, better, max_loss=25)[0]


def test_noise_is_checked_by_cosine_only(two):
    tie = np.float32([[0.7, 0.2, 0.1], [0.4501, 0.4499, 0.1]])
    noise = dataclasses.replace(two, kind="noise", classes=None, probabilities=tie)
    good, text = check("int8", noise, np.float32([[0.7, 0.2, 0.1], [0.4499, 0.4501, 0.1]]))
    assert good and "agreement 50.00 %," in text
    good, text = check("int8", noise, PROBABILITIES[:, ::-1])
    assert not good and "cosine of logits -" in text and "(at least 0.999)" in text
    assert not check("int8", noise, PROBABILITIES * np.nan)[0]


def test_images_of_unknown_classes_are_checked_by_both(two):
    unknown = dataclasses.replace(two, kind="given", classes=None)
    assert tolerance.limits("int8", unknown) == {"agreement": 0.99, "cosine": 0.999}
    assert not check("int8", unknown, np.float32([[0.98, 0.01, 0.01], [0.5, 0.4, 0.1]]))[0]


def test_rounding_affects_best_classes_and_not_logits(two):
    rounded = np.float32([[1, 0, 0], [0, 1, 0]])
    found = tolerance.figures(two, {"probabilities": PROBABILITIES}, rounded)
    assert (found["top1"], found["float_top1"], found["delta"], found["agreement"]) == (100, 50, 50, 0.5)
    assert found["cosine"] == pytest.approx(1) and found["largest_difference"] == pytest.approx(0.6)
    assert found["sqnr_db"] is None  # without any error


def test_sqnr_is_of_logits(two):
    logits = np.log(PROBABILITIES.astype("float64"))
    logits -= logits.mean(-1, keepdims=True)
    hotter = np.exp(1.1 * logits)  # every logit a tenth off: 20 dB
    found = tolerance.figures(two, {"probabilities": hotter / hotter.sum(-1, keepdims=True)})
    assert found["sqnr_db"] == pytest.approx(20)
