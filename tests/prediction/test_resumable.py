"""Answers are kept in whole batches, those of other work are refused, and nothing is left behind at the end."""

import json

import numpy as np
import pytest

from keras_vit.prediction.resumable import FRAME, Journal, Row, difference, journal

BATCHES = [
    [
        Row("a.png", np.float32([0.75, 0.25]), np.int32([1, 0]), known=-0.5),
        Row("b\\udce9.png", None, reason="it is no image"),
    ],
    [Row("c.png", np.zeros(0, "float32"), known=2.5), Row("d.png", np.float32([1e-30]), np.int32([2]), known=0.0)],
]


def assert_same(rows, expected):
    for row, other in zip(rows, expected, strict=True):
        assert (row.name, row.known, row.reason) == (other.name, other.known, other.reason)
        for value, wanted in ((row.values, other.values), (row.numbers, other.numbers)):
            assert wanted is None and value is None or value.dtype == wanted.dtype and value.tolist() == wanted.tolist()


def test_rows_are_read_as_they_were_kept(tmp_path):
    kept = Journal(tmp_path / "answers")
    assert (kept.batches, kept.done, list(kept.rows())) == (0, 0, [])
    for rows in BATCHES:
        kept.append(rows)
    for one in (kept, Journal(tmp_path / "answers")):
        assert (one.batches, one.done) == (2, 4)
        assert_same(one.rows(), sum(BATCHES, []))


def test_vectors_have_no_numbers(tmp_path):
    kept = Journal(tmp_path / "answers")
    kept.append([Row("a", np.float32([1, 2, 3])), Row("b", None, reason="bad"), Row("c", np.float32([4, 5, 6]))])
    assert [None if row.values is None else row.values.tolist() for row in kept.rows()] == [[1, 2, 3], None, [4, 5, 6]]


@pytest.mark.parametrize("damage", ["every length", "a byte", "what follows"])
def test_a_batch_that_is_not_whole_is_answered_again(tmp_path, damage):
    path = tmp_path / "answers"
    kept = Journal(path)
    kept.append(BATCHES[0])
    first = path.read_bytes()
    kept.append(BATCHES[1])
    both = path.read_bytes()
    if damage == "every length":  # as a kill leaves it
        torn = [both[:length] for length in range(len(first), len(both), 7)]
    elif damage == "a byte":
        torn = [both[: len(first) + FRAME.size + 20] + b"?" + both[len(first) + FRAME.size + 21 :]]
    else:
        torn = [first + FRAME.pack(2**60, 0) + b"x"]
    for content in torn:
        path.write_bytes(content)
        again = Journal(path)
        assert (again.batches, again.done) == (1, 2) and path.read_bytes() == first
        again.append(BATCHES[1])
        assert path.read_bytes() == both


def test_answers_stay_after_an_error_and_go_when_all_is_done(tmp_path):
    output, request = tmp_path / "found.csv", {"top": 3}
    with pytest.raises(KeyboardInterrupt):
        with journal(output, request) as kept:
            kept.append(BATCHES[0])
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["found.csv.partial"]
    with journal(output, request) as kept:
        assert kept.done == 2
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_of_work_that_failed_at_once(tmp_path):
    with pytest.raises(OSError), journal(tmp_path / "found.csv", {}):
        raise OSError
    assert list(tmp_path.iterdir()) == []


def test_answers_of_other_work_are_named_and_stay(tmp_path):
    output = tmp_path / "found.csv"
    with pytest.raises(KeyboardInterrupt), journal(output, {"top": 3, "weights": 64 * "a"}) as kept:
        kept.append(BATCHES[0])
        raise KeyboardInterrupt
    for request, message in (
        ({"top": 5, "weights": 64 * "a"}, "another top, 3 then and 5 now. Give the same command"),
        ({"top": 3, "weights": 64 * "b"}, "another weights. "),
    ):
        with pytest.raises(ValueError, match=message), journal(output, request):
            raise AssertionError
    with journal(output, {"top": 3, "weights": 64 * "a"}) as kept:
        assert kept.done == 2


def test_two_at_once_are_refused(tmp_path):
    output = tmp_path / "found.csv"
    with journal(output, {}) as kept:
        kept.append(BATCHES[0])
        with pytest.raises(ValueError, match="found.csv.partial is being written to by another process"):
            with journal(output, {}):
                raise AssertionError
        assert kept.done == 2
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_a_full_disk_cut_off_begins_anew(tmp_path):
    output = tmp_path / "found.csv"
    with pytest.raises(KeyboardInterrupt), journal(output, {"top": 3}) as kept:
        kept.append(BATCHES[0])
        raise KeyboardInterrupt
    (tmp_path / "found.csv.partial/request.json").write_text('{"to')
    with journal(output, {"top": 3}) as kept:
        assert kept.done == 0


def test_nothing_lies_beside_a_device():
    with journal("/dev/null", {}) as kept:
        assert kept.path.parent.parent.is_dir() and not str(kept.path).startswith("/dev")


@pytest.mark.parametrize(
    "earlier, now, words",
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {}, "another a, 1 then and None now"),
        ({"batch_size": 1}, {"batch_size": 2}, "another batch size, 1 then and 2 now"),
        ({"a": 1, "images": {"count": 1}}, {"a": 1, "images": {"count": 2}}, "another images"),
    ],
)
def test_differences_in_words(earlier, now, words):
    assert difference(earlier, json.loads(json.dumps(now))) == words
