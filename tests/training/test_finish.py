import json

import numpy as np
import pytest

from keras_vit.training import finish


def test_measure_counts_top1_and_top5():
    scores = np.array([[6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]]) / 21
    results = finish.measure(scores, np.array([0, 5, 4]))
    assert results == {
        "top1": pytest.approx(100 / 3),
        "top5": pytest.approx(200 / 3),
        "correct": 1,
        "n_images": 3,
    }


def test_only_a_finished_run_has_results(tmp_path):
    assert finish.read_results(tmp_path) is None
    for finished, expected in ((False, None), (True, {"top1": 1.0})):
        entries = {"finished": finished, "held_out": {"top1": 1.0}}
        (tmp_path / "run.json").write_text(json.dumps(entries))
        assert finish.read_results(tmp_path) == expected


def test_the_report_says_what_the_number_is_of():
    results = {"top1": 99.5, "correct": 199, "n_images": 200, "bad_pictures": 0}
    text = finish.report(results | {"chosen_on_same_pictures": False})
    assert text == "Held-out accuracy: 99.50 % (199 of 200 pictures)"
    text = finish.report(results | {"chosen_on_same_pictures": True, "bad_pictures": 2})
    assert text.startswith("Validation (") and "2 unreadable left out" in text
