import numpy as np

from keras_vit.export.sensitivity import error, search

ERRORS = {"a": 1.0, "b": 5.0, "c": 3.0, "d": 0.5, "e": 4.0}


def run(needed):
    """Search until `needed` are kept; (what was kept, what was tried)."""
    tried = []

    def attempt(kept):
        tried.append(kept)
        return set(kept)

    kept, answers = search(tuple(ERRORS), attempt, lambda answers: needed <= answers, ERRORS.get)
    assert answers == set(kept)
    return kept, tried


def test_nothing_is_kept_nor_ranked_where_it_holds():
    kept, answers = search(("a",), lambda kept: "good", lambda answers: True, None)
    assert (kept, answers) == ((), "good")


def test_the_worst_are_kept_one_two_four():
    assert run({"b"}) == (("b",), [(), ("b",)])
    assert run({"c"}) == (("b", "e", "c", "a"), [(), ("b",), ("b", "e"), ("b", "e", "c", "a")])


def test_at_last_all_are_kept_and_no_more_is_tried():
    kept, tried = run({"x"})
    assert set(kept) == set(ERRORS) and [len(k) for k in tried] == [0, 1, 2, 4, 5]


def test_error_is_relative():
    one = np.array([[1.0, -1.0], [2.0, -2.0]])
    np.testing.assert_allclose((error(1.1 * one, one), error(110 * one, 100 * one), error(one, one)), (0.01, 0.01, 0))
