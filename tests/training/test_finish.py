import json

import numpy as np
import pytest

from keras_vit.training import finish


def test_measure_counts_top1_and_top5():
    scores = np.array([[6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]]) / 21
    measured = finish.measure(scores, np.array([0, 5, 4]))
    assert measured == {"top1": 100 / 3, "top5": 200 / 3, "correct": 1, "n_images": 3}


def test_of_equal_scores_the_lower_class_ranks_first():
    measured = finish.measure(np.full((6, 6), 1 / 6), np.arange(6))
    assert measured["correct"] == 1 and measured["top5"] == pytest.approx(500 / 6)


def test_several_labels_are_measured_by_their_thresholds():
    scores = np.array([[0.9, 0.2], [0.4, 0.6], [0.7, 0.1]], "float32")
    measured = finish.measure(scores, np.array([[1, 0], [1, 1], [0, 0]], "uint8"), [0.3, 0.5])
    assert measured["map"] == pytest.approx(100 * (1 * 0.5 + 2 / 3 * 0.5 + 1) / 2)
    assert measured["micro_f1"] == pytest.approx(100 * 6 / 7) and measured["n_images"] == 3
    assert measured["macro_f1"] == pytest.approx(100 * (4 / 5 + 1) / 2)


def test_only_a_finished_run_has_results(tmp_path):
    assert finish.read_results(tmp_path) is None
    for finished, expected in ((False, None), (True, {"top1": 1.0})):
        entries = {"finished": finished, "held_out": {"top1": 1.0}}
        (tmp_path / "run.json").write_text(json.dumps(entries))
        assert finish.read_results(tmp_path) == expected


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "[" * 100_000, '{"finished": true, "held_out": [1]}', '{"finished": true, "held_out": 1}'],
)
def test_a_description_that_is_none_is_named(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=f"{tmp_path / 'run.json'} "):
        finish.read_results(tmp_path)


def test_the_report_names_the_split_and_the_images():
    results = {"top1": 99.5, "correct": 199, "n_images": 200, "bad_pictures": 0}
    text = finish.report(results | {"chosen_on_same_pictures": False})
    assert text == "Test accuracy: 99.50 % (199 of 200 images)"
    text = finish.report(results | {"chosen_on_same_pictures": True, "bad_pictures": 2})
    assert text.startswith("Validation (") and "2 unreadable left out" in text
    several = {"map": 81.5, "micro_f1": 80.0, "macro_f1": 70.25, "n_images": 200, "bad_pictures": 0}
    text = finish.report(several | {"chosen_on_same_pictures": False})
    assert text == "Test mAP: 81.50 % (micro F1 80.00 %, macro F1 70.25 %, 200 images)"
