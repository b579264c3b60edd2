import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from keras_vit.evaluation.temperature import HIGHEST, LOWEST, fit_temperature

generator = np.random.default_rng(0)
TRUE = 2 * generator.normal(size=(4000, 5))
P = np.exp(TRUE) / np.exp(TRUE).sum(1, keepdims=True)
LABELS = (P.cumsum(1) < generator.random((4000, 1))).sum(1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_logits_that_are_too_large_or_too_small_are_divided_back(temperature):
    assert fit_temperature(temperature * TRUE, LABELS) == pytest.approx(temperature, rel=0.05)


def test_it_is_the_minimum_of_the_cross_entropy():
    logits, found = 2.5 * TRUE[:50], fit_temperature(2.5 * TRUE[:50], LABELS[:50])
    targets = np.full((50, 5), 1 / 52 / 4)
    targets[np.arange(50), LABELS[:50]] = 51 / 52

    def loss(temperature):
        z = logits / temperature
        return -(targets * (z - np.log(np.exp(z).sum(1, keepdims=True)))).sum()

    best = minimize_scalar(loss, bounds=(LOWEST, HIGHEST), method="bounded", options={"xatol": 1e-9}).x
    assert found == pytest.approx(best, rel=1e-5)


def test_several_labels_have_the_temperature_of_their_sigmoids():
    labels = (generator.random(TRUE.shape) < 1 / (1 + np.exp(-TRUE))).astype("uint8")
    assert fit_temperature(3 * TRUE, labels) == pytest.approx(3, rel=0.05)


def test_logits_that_are_always_right_do_not_become_certain():
    logits = 10 * np.eye(3)[[0, 1, 2, 0]]
    assert LOWEST < fit_temperature(logits, np.array([0, 1, 2, 0])) < HIGHEST
    p = np.exp(10 / fit_temperature(logits, np.array([0, 1, 2, 0])))
    assert p / (p + 2) == pytest.approx(5 / 6, rel=1e-6)


def test_logits_that_say_nothing_and_such_as_are_always_wrong_stay_within_bounds():
    assert LOWEST <= fit_temperature(np.zeros((4, 3)), np.zeros(4, int)) <= HIGHEST
    assert fit_temperature(10 * np.eye(3), np.array([1, 2, 0])) == pytest.approx(HIGHEST)
