"""Many images: in order, in full batches, bad ones named, never all in memory, no thread left when the caller stops."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from keras_vit.evaluation import evaluate
from keras_vit.imagenet.labels import decode_predictions
from keras_vit.prediction.many import Answer, best_classes, predict_batches, predict_files, printable
from keras_vit.prediction.predictor import Predictor
from tests import toy_artifacts as toy
from tests.evaluation.toys import LABELS, images


class Recording(Predictor):
    """A predictor of paths that are numbers: the scores of image n are n, 0, 0, ...; odd ones above 100 are bad."""

    def prepare(self, image):
        if int(image) > 100 and int(image) % 2:
            raise ValueError(f"{image} is odd")
        return int(image)


def recording(sizes, model=None):
    """A `Recording` that appends the size of each batch to `sizes`."""

    def run(batch):
        sizes.append(len(batch))
        return np.array(batch, "float32")[:, None] * np.eye(1, 7, dtype="float32")

    return Recording("keras model", "toy", LABELS, None, run, model=model)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_answers_come_in_the_order_of_the_paths_bad_ones_among_them(batch_size):
    paths = [7, 103, 2, 101, 104, 105, 9, 8, 107]
    answers = list(predict_files(recording([]), paths, batch_size))
    assert [answer.path for answer in answers] == paths
    for path, scores, reason in answers:
        assert reason == (f"{path} is odd" if path > 100 and path % 2 else None)
        assert scores is None if reason else scores[0] == path


@pytest.mark.parametrize(
    ("paths", "model", "sizes"),
    [
        (range(8), "a model", [4, 4]),
        (range(10), "a model", [4, 4, 4]),  # the last filled up: a second size would be compiled
        (range(3), "a model", [3]),  # nothing was compiled before
        (range(10), None, [4, 4, 2]),  # a signature or an interpreter, which compile nothing
        (range(96, 110), "a model", [4, 4, 4]),  # 101, 103, ... take no place
        ([101, 103], "a model", []),
        ([], "a model", []),
    ],
)
def test_batches_are_full(paths, model, sizes):
    found = []
    assert [answer.path for answer in predict_files(recording(found, model), paths, 4)] == list(paths)
    assert found == sizes


def test_the_place_of_an_image_in_its_batch_does_not_depend_on_bad_ones():
    batches = []
    run = lambda batch: batches.append(batch) or np.zeros((len(batch), 7))  # noqa: E731
    predictor = Recording("keras model", "toy", LABELS, None, run, model="a model")
    list(predict_batches(predictor, [99, 101, 98, 103, 102, 104, 96], 3))
    assert batches == [[99, 99, 98], [102, 102, 104], [96, 96, 96]]


def test_the_last_batch_is_filled_up_where_others_were_answered_elsewhere():
    sizes = []
    assert len(*predict_batches(recording(sizes, "a model"), [1, 2], 4, filled=True)) == 2
    assert len(*predict_batches(recording(sizes), [1, 2], 4, filled=True)) == 2
    assert sizes == [4, 2]


def test_no_more_is_read_than_a_few_batches_ahead():
    taken = []

    def paths():
        for number in range(1000):
            taken.append(number)
            yield 2 * number

    answers = predict_files(recording([]), paths(), 2)
    for number, _ in zip(range(50), answers):
        assert len(taken) <= number + 2 + 4 + 1  # a batch at the model, two ahead, one being handed over
    answers.close()


@pytest.mark.parametrize("stop", ["close", "error in the model"])
def test_no_thread_is_left_when_it_stops_early(stop):
    before = threading.active_count()
    predictor = recording([])
    if stop == "close":
        answers = predict_files(predictor, range(0, 1000, 2), 2)
        next(answers)
        answers.close()
    else:
        broken = Recording("keras model", "toy", LABELS, None, lambda batch: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(predict_files(broken, range(0, 1000, 2), 2))
    assert threading.active_count() == before


def test_a_bad_batch_size_is_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="batch_size.*Received: 0"):
        predict_files(recording([]), [1], 0)


@pytest.mark.parametrize("kind", ["run", "saved_model", "serving_default", "tflite"])
def test_scores_are_those_of_predict_for_every_runtime(tmp_path, kind):
    if kind == "run":
        source = toy.write_run(tmp_path / "run")
    elif kind == "tflite":
        source = toy.write_tflite(tmp_path / "toy.tflite")
        toy.write_beside(tmp_path)
    else:
        signatures = ("serving_default",) if kind == "serving_default" else ("serving_default", "predict_images")
        source = toy.write_saved_model(tmp_path / "toy" / "1", signatures)
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, image in zip(paths, toy.random_images()):
        Image.fromarray(image).save(path)
    predictor = Predictor.open(source)
    expected = predictor.predict(paths)
    answers = list(predict_files(predictor, [*paths, tmp_path / "none.png"], batch_size=3))
    np.testing.assert_allclose([answer.scores for answer in answers[:4]], expected, atol=1e-6)
    assert "none.png" in answers[4].reason


def test_evaluation_has_the_same_scores(tmp_path):
    predictor = Predictor.open(toy.write_run(tmp_path / "run"))
    paths = images(tmp_path, 5, broken=[1])
    found = evaluate(predictor, [(path, 0) for path in paths], batch_size=2, max_bad_fraction=0.5)
    answers = [answer for answer in predict_files(predictor, paths, 2) if answer.scores is not None]
    np.testing.assert_array_equal(found.scores, [best_classes(answer, 3)[1] for answer in answers])
    np.testing.assert_array_equal(found.best, [best_classes(answer, 3)[0] for answer in answers])


@pytest.mark.parametrize("k", [1, 3, 6, 7, 20])
def test_best_classes_are_those_of_decode_predictions_ties_too(k):
    draw = np.random.default_rng(0)
    for _ in range(50):
        scores = draw.integers(0, 4, 7).astype("float32") / 4
        best, values = best_classes(Answer("a.png", scores), k)
        (expected,) = decode_predictions(scores[None], k, LABELS)
        assert [(LABELS[one], value) for one, value in zip(best, values)] == [entry[1:] for entry in expected]


def test_scores_that_are_not_finite_name_the_file():
    with pytest.raises(ValueError, match="a.png are not finite"):
        best_classes(Answer("a.png", np.array([0.5, np.nan], "float32")), 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"a.jpg", "a.jpg"),
        ("é日.jpg".encode(), "é日.jpg"),
        (b"caf\xe9.jpg", "caf\\udce9.jpg"),
    ],
)
def test_any_path_can_be_printed(name, text):
    assert printable(os.fsdecode(name)) == text
