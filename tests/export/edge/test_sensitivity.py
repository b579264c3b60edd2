import numpy as np

from keras_vit.export.edge.sensitivity import error, search

ERRORS = {"a": 1.0, "b": 5.0, "c": 3.0, "d": 0.5, "e": 4.0}


def run(needed):
    """Search until `needed` are kept; (what was kept, what was tried)."""
    tried = []

    def attempt(kept):
        tried.append(kept)
        return set(kept)

    kept, outputs = search(tuple(ERRORS), attempt, lambda outputs: needed <= outputs, ERRORS.get)
    assert outputs == set(kept)
    return kept, tried


def test_nothing_is_kept_nor_ranked_within_the_limits():
    kept, outputs = search(("a",), lambda kept: "good", lambda outputs: True, None)
    assert (kept, outputs) == ((), "good")


def test_the_worst_layers_are_kept_one_two_four():
    assert run({"b"}) == (("b",), [(), ("b",)])
    assert run({"c"}) == (("b", "e", "c", "a"), [(), ("b",), ("b", "e"), ("b", "e", "c", "a")])


def test_the_search_ends_with_all_layers_kept():
    kept, tried = run({"x"})
    assert set(kept) == set(ERRORS) and [len(k) for k in tried] == [0, 1, 2, 4, 5]


def test_error_is_relative():
    one = np.array([[1.0, -1.0], [2.0, -2.0]])
    np.testing.assert_allclose((error(1.1 * one, one), error(110 * one, 100 * one), error(one, one)), (0.01, 0.01, 0))
