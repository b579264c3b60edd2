"""Accuracies against counting by hand, ties, unreadable images, and errors."""

import threading
import time

import numpy as np
import pytest

from keras_vit.evaluation import accuracy, evaluate
from keras_vit.prediction.predictor import Predictor
from tests.evaluation.toys import LABELS, images, predictor_of


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_top1_and_top5_equal_counting_by_hand(tmp_path, batch_size):
    scores = np.random.default_rng(0).random((20, 7)).astype("float32")
    labels = np.arange(20) % 7
    rank = (scores > scores[np.arange(20), labels][:, None]).sum(1)  # classes scored higher
    paths, done = images(tmp_path, 20), []
    found = evaluate(
        predictor_of(scores), zip(paths, labels), batch_size, progress=lambda *numbers: done.append(numbers)
    )
    counted = accuracy(found)
    assert (counted.correct, counted.correct5) == ((rank == 0).sum(), (rank < 5).sum())
    assert counted.top1 == 100 * (rank == 0).sum() / 20
    assert (counted.k, counted.images, found.bad) == (5, 20, ())
    assert found.paths == tuple(paths) and (found.labels == labels).all()
    np.testing.assert_array_equal(found.scores, -np.sort(-scores, axis=1)[:, :5])
    assert done[-1] == (20, 20)


def test_of_equal_scores_the_lower_class_goes_first(tmp_path):
    scores = np.zeros((7, 7), "float32")  # as a quantized model gives them
    scores[:, 6] = 1
    found = evaluate(predictor_of(scores), zip(images(tmp_path, 7), range(7)))
    assert (found.best == [6, 0, 1, 2, 3]).all()
    assert (accuracy(found).correct, accuracy(found).correct5) == (1, 5)


def test_no_more_predictions_than_scores(tmp_path):
    scores, paths = np.eye(7, dtype="float32"), images(tmp_path, 1)
    assert evaluate(predictor_of(scores, top_k=2), [(paths[0], 0)]).best.shape == (1, 2)
    assert evaluate(predictor_of(scores[:, :3], labels=LABELS[:3]), [(paths[0], 0)]).best.shape == (1, 3)


def test_unreadable_images_are_skipped_and_named_up_to_a_fraction(tmp_path):
    paths = images(tmp_path, 10, broken=(3, 9))
    scores, done = np.eye(7, dtype="float32")[[0] * 8], []
    found = evaluate(
        predictor_of(scores), [(p, 0) for p in paths], 4, 0.2, progress=lambda *numbers: done.append(numbers)
    )
    assert (accuracy(found).top1, accuracy(found).images) == (100, 8)
    assert [path for path, _ in found.bad] == [paths[3], paths[9]]
    assert "3.png cannot be read" in found.bad[0][1] and done == [(4, 10), (8, 10), (10, 10)]
    with pytest.raises(ValueError, match=r"2 or more of 10.*0\.1.*3\.png.*9\.png"):
        evaluate(predictor_of(scores), [(p, 0) for p in paths], 10, max_bad_fraction=0.1)
    with pytest.raises(ValueError, match="None of the 1 .*cannot be read as an image"):
        evaluate(predictor_of(scores), [(paths[3], 0)], max_bad_fraction=1)


def test_no_more_than_a_few_batches_are_held(tmp_path):
    """The model waits until no more images are read: that must be after three batches, not after all."""
    paths, prepared, lock = images(tmp_path, 1), [], threading.Lock()

    class Counting(Predictor):
        def prepare(self, image):
            with lock:
                prepared.append(image)
            return image

    def run(images):
        before = -1
        while before != len(prepared):
            before = len(prepared)
            time.sleep(0.05)
        held.append(len(prepared) - 2 * len(held))
        return np.eye(7, dtype="float32")[: len(images)]

    held = []
    evaluate(Counting("keras model", "toy", LABELS, None, run), [(paths[0], 0)] * 20, batch_size=2)
    assert len(held) == 10 and max(held) <= 7  # two at the model, four read ahead, one being handed over


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "0 images"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"max_bad_fraction": 5}, "max_bad_fraction=5"),
        ({"images": [("a.png", 7)]}, "a.png.*0 to 6.*Received: 7"),
        ({"images": [("a.png", -1)]}, "Received: -1"),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    arguments = {"images": [("a.png", 0)], "batch_size": 1, "max_bad_fraction": 0.5}
    with pytest.raises(ValueError, match=message):
        evaluate(predictor_of([]), **{**arguments, **changes})


def test_scores_that_are_not_finite_are_refused(tmp_path):
    scores = np.eye(7, dtype="float32")
    scores[2, 3] = np.nan
    with pytest.raises(ValueError, match="2.png are not finite"):
        evaluate(predictor_of(scores), zip(images(tmp_path, 7), range(7)))


def test_of_several_labels_all_scores_are_kept_and_images_may_have_no_class(tmp_path):
    scores = np.random.default_rng(0).random((3, 7)).astype("float32")
    predictor = predictor_of(scores, multi_label=True, thresholds=(0.5,) * 6 + (0.25,), known=[1, 2, 3])
    found = evaluate(predictor, zip(images(tmp_path, 4, broken=(1,)), ((0, 6), (1,), (), (3,))), 2, 0.5)
    assert found.labels.tolist() == [[True, *[False] * 5, True], [False] * 7, [False] * 3 + [True] + [False] * 3]
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.predicted, scores >= [0.5] * 6 + [0.25])
    assert found.known.tolist() == [1, 2, 3] and len(found.bad) == 1


def test_several_labels_need_a_model_that_knows_them_and_numbers_that_exist(tmp_path):
    (path,) = images(tmp_path, 1)
    with pytest.raises(ValueError, match=r"0.png: the model knows one class per image. Received: \(1, 2\)"):
        evaluate(predictor_of([]), [(path, (1, 2))])
    with pytest.raises(ValueError, match="0.png: expected the number of a class, 0 to 6. Received: 7"):
        evaluate(predictor_of([], multi_label=True), [(path, (1, 7))])
