"""The expected calibration error against its definition, and bins at their edges."""

import numpy as np
import pytest

from keras_vit.evaluation.calibration import calibration
from tests.evaluation.toys import LABELS, predictions, random_predictions, several_predictions


def of(confidences, right):
    """Predictions of two classes with these confidences."""
    scores = [[c, 1 - c] if c >= 0.5 else [c, 0] for c in confidences]
    return predictions([0 if hit else 1 for hit in right], scores, "ab", 2)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_definition(bins):
    """ECE = sum over bins of |B| / n * |acc(B) - conf(B)|, with bins ((m - 1) / M, m / M]."""
    found, error = random_predictions(300, LABELS), 0
    confidence, hit = found.scores[:, 0].astype(float), found.best[:, 0] == found.labels
    for m in range(1, bins + 1):
        inside = ((m - 1) / bins < confidence) & (confidence <= m / bins)
        if inside.any():
            error += inside.sum() / 300 * abs(hit[inside].mean() - confidence[inside].mean())
    result = calibration(found, bins)
    assert result.error == pytest.approx(error, abs=1e-12) and error > 0.01
    assert result.images.sum() == 300 and result.correct.sum() == hit.sum()


def test_a_bin_includes_its_upper_edge():
    assert calibration(of([0.25, 0.26, 0.5, 0.51, 0.75, 1], [True] * 6), 4).images.tolist() == [1, 2, 2, 1]
    assert calibration(of([0.0, 0.125], [True, True]), 8).images.tolist() == [2, 0, 0, 0, 0, 0, 0, 0]
    rounded = of([1.0], [True])
    rounded.scores[0, 0] = np.nextafter(np.float32(1), np.float32(2))  # as sums of float32 give it
    assert calibration(rounded).images[-1] == 1


def test_the_error_is_0_if_calibrated_and_1_if_certain_and_wrong():
    assert calibration(of([0.75] * 4, [True, True, True, False])).error == 0
    assert calibration(of([1.0] * 4, [False] * 4)).error == 1


def test_scores_that_are_not_probabilities_are_refused():
    logits = of([0.75], [True])
    logits.scores[0, 0] = 4.5
    with pytest.raises(ValueError, match="4.5 to 4.5"):
        calibration(logits)


def test_of_several_labels_every_class_of_every_image_counts():
    found = several_predictions()
    result = calibration(found, 10)
    assert result.images.sum() == found.labels.size and result.correct.sum() == found.labels.sum() and result.several
    inside = (found.scores > 0.7) & (found.scores <= 0.8)
    assert (result.images[7], result.correct[7]) == (inside.sum(), found.labels[inside].sum())
