"""answers.json: written, read, and refused where it contradicts itself."""

import json

import pytest

from keras_vit.sources.answers import Answers
from keras_vit.sources.resolve import resolve

UNKNOWN = {"score": "energy", "threshold": 4.5, "kept": 0.95}
ALL = Answers(True, (0.25, 0.5, 1.0), UNKNOWN)


@pytest.mark.parametrize("answers", [Answers(), Answers(True), Answers(unknown=UNKNOWN), ALL])
def test_what_is_saved_is_read(tmp_path, answers):
    answers.save(tmp_path / "answers.json")
    assert Answers.beside(tmp_path, 3) == answers
    assert set(json.loads((tmp_path / "answers.json").read_text())) == set(answers.entries())


def test_without_a_file_an_image_has_one_label(tmp_path):
    assert Answers.beside(tmp_path, 3) == Answers() and Answers().least(3) is None


def test_thresholds_that_were_not_chosen_are_even():
    assert Answers(True).least(2) == (0.5, 0.5) and ALL.least(3) == (0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"multi_label": 1}, "multi_label must be true or false. Received: 1"),
        ({"thresholds": [0.5, 0.5, 0.5]}, "thresholds, which are for several labels"),
        ({"multi_label": True, "thresholds": [0.5, 0.5]}, "thresholds must be 3 numbers"),
        ({"multi_label": True, "thresholds": [0.5, 0.5, 1.5]}, "in \\[0, 1\\]"),
        ({"multi_label": True, "thresholds": [0.5, 0.5, True]}, "in \\[0, 1\\]"),
        ({"multi_label": True, "thresholds": 0.5}, "Received: 0.5"),
        ({"unknown": {**UNKNOWN, "score": "entropy"}}, "energy or max_logit"),
        ({"unknown": {**UNKNOWN, "threshold": float("inf")}}, "a number"),
        ({"unknown": {"score": "energy"}}, "kept"),
        ({"unknown": "energy"}, "Received: energy"),
    ],
)
def test_a_wrong_entry_is_named_with_its_file(tmp_path, entries, message):
    (tmp_path / "answers.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=f"answers.json.*{message}"):
        Answers.beside(tmp_path, 3)


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_what_is_no_json_object_is_refused(tmp_path, text):
    (tmp_path / "answers.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match="answers.json"):
        Answers.beside(tmp_path, 3)


def test_a_file_of_a_model_has_those_beside_it(tmp_path):
    (tmp_path / "a.tflite").write_bytes(b"")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    assert resolve(tmp_path / "a.tflite").answers() == Answers()
    ALL.save(tmp_path / "answers.json")
    assert resolve(tmp_path / "a.tflite").answers() == ALL
    assert resolve("ViTS16").answers() == Answers()


def test_the_weights_of_a_run_have_those_of_the_run(tmp_path):
    entries = {"model": "Toy", "name": "toy", "classes": 3, **ALL.entries()}
    (tmp_path / "run.json").write_text(json.dumps(entries))
    (tmp_path / "model.keras").write_bytes(b"")
    assert resolve(tmp_path).answers() == resolve(tmp_path / "model.keras").answers() == ALL
