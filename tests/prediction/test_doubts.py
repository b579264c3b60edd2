"""An accuracy that a working model does not have is named, and one that few images allow is not."""

import json

import numpy as np
import pytest

from keras_vit.prediction.doubts import agreement, better_input_values, doubts, recorded_accuracy
from keras_vit.prediction.predictor import Predictor, keras_predictor
from keras_vit.sources.answers import Answers
from tests import toy_artifacts as toy
from tests.evaluation.toys import predictor_of
from tests.wrapped_models import behind, rescaling


def labelled(number=60):
    """Prepared images of three colours, dark and alike, and their classes."""
    rng = np.random.default_rng(0)
    classes = np.arange(number) % 3
    images = rng.integers(100, 130, (number, *toy.SPEC.size, 3)).astype("float32")
    images[np.arange(number), :, :, classes] += 20
    return images, classes


def fed(values):
    """A predictor of a model that takes pixels, which is fed these values."""
    model = behind(rescaling())(toy.keras_model(), toy.SPEC)
    return keras_predictor("keras model", "m", model, toy.SPEC, toy.LABELS, None, values)


def best_of(predictor, images):
    return predictor.predict_prepared(list(images)).argmax(1)


@pytest.mark.parametrize("values", ["unit", "normalized", "pixels"])
def test_values_that_are_clearly_better_are_found(values):
    images, classes = labelled()
    right = best_of(fed("pixels"), images)
    predictor = fed(values)
    wrong = np.zeros_like(classes) if values != "pixels" else right  # as models that are fed the wrong values answer
    found = better_input_values(predictor, right, wrong, lambda number: images[number])
    if values == "pixels":
        assert found is None
        return
    assert (found.input_values, found.own_values, found.accuracy) == ("pixels", values, 1.0)
    assert found.own_accuracy == np.mean(right == 0) and "--input-values pixels" in str(found)


def test_nothing_is_tried_where_nothing_can_be_better():
    classes = np.arange(40) % 3
    best = np.where(np.arange(40) < 2, (classes + 1) % 3, classes)  # 95 %

    def never(number):
        raise AssertionError

    assert better_input_values(fed("normalized"), classes, best, never) is None
    other = Predictor("tflite", "m", toy.LABELS, toy.SPEC, never)
    assert better_input_values(other, classes, np.zeros(40, int), never) is None


@pytest.mark.parametrize("number, expected", [(1, None), (6, "pixels")])
def test_one_image_proves_nothing(number, expected):
    images, _ = labelled()
    right = best_of(fed("pixels"), images)[:number]
    found = better_input_values(fed("unit"), right, (right + 1) % 3, lambda i: images[i])
    assert (found and found.input_values) == expected


def of(labels):
    return predictor_of([], labels=tuple(map(str, range(labels))))


@pytest.mark.parametrize(
    "K, number, right, suspicious",
    [
        (10, 360, 36, True),
        (10, 360, 50, True),
        (10, 360, 90, False),
        (10, 19, 1, False),  # too few images
        (2, 40, 22, True),
        (2, 40, 30, False),
        (2, 20, 10, False),  # of which 3 standard errors reach 84 %
        (1000, 100, 0, True),
        (1000, 100, 12, False),
        (1, 100, 0, False),
    ],
)
def test_accuracies_of_guessing(K, number, right, suspicious):
    classes = np.arange(number) % K
    best = np.where(np.arange(number) < right, classes, (classes + 1 + np.arange(number) % max(K - 1, 1)) % K)
    found = doubts(of(K), classes, best if K > 1 else np.ones(number, int))
    guessing = [text for text in found if "that of guessing" in text]
    assert bool(guessing) == suspicious


def test_one_answer_for_all_images():
    classes = np.array([0] * 35 + [1] * 5)
    (text,) = doubts(of(2), classes, np.zeros(40, int))  # an accuracy of 87.5 %
    assert "all 40 images get the same class, '0'" in text
    assert doubts(of(2), np.zeros(40, int), np.zeros(40, int)) == []


def test_far_below_what_training_measured(tmp_path):
    assert recorded_accuracy(tmp_path) is None
    (tmp_path / "run.json").write_text(json.dumps({"held_out": {"top1": 99.5}}))
    recorded = recorded_accuracy(tmp_path)
    classes = np.arange(200) % 4
    best = np.where(np.arange(200) % 3 == 0, (classes + 1) % 4, classes)  # two thirds
    (text,) = doubts(of(4), classes, best, recorded)
    assert text == "its run had 99.50 % on these images after training, not 66.50 %"
    assert doubts(of(4), classes, classes, recorded) == [] == doubts(of(4), classes, best)


def several(values):
    """A predictor of several labels, which is fed these values."""
    model = behind(rescaling())(toy.keras_model("sigmoid"), toy.SPEC)
    answers = Answers(True, (0.6, 0.6, 0.6))
    return keras_predictor("keras model", "m", model, toy.SPEC, toy.LABELS, None, values, answers)


def test_better_values_are_found_by_several_labels():
    images, _ = labelled()
    predictor = several("pixels")
    right = predictor.predict_prepared(list(images)) >= predictor.thresholds
    wrong = several("normalized").predict_prepared(list(images)) >= predictor.thresholds
    found = better_input_values(several("normalized"), right, wrong, lambda number: images[number])
    assert right.any() and (found.input_values, found.accuracy) == ("pixels", 1.0) and found.own_accuracy < 0.9


def test_agreement_of_several_labels_is_the_jaccard_index():
    one = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0]], bool)
    other = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)
    assert agreement(one, other) == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert agreement(np.array([1, 2]), np.array([1, 0])) == 0.5


def test_the_same_labels_for_all_images_are_suspicious():
    predictor, classes = several("pixels"), np.eye(3, dtype=bool)[np.arange(30) % 3]
    same = np.tile([True, False, True], (30, 1))
    assert doubts(predictor, classes, same) == ["all 30 images get the same labels: red, deep blue"]
    assert doubts(predictor, classes, np.zeros_like(same)) == ["all 30 images get the same labels: none of the classes"]
    assert doubts(predictor, classes, classes) == [] and doubts(predictor, same, same) == []
