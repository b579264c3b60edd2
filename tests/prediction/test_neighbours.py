"""The nearest vectors are those that sorting all of them gives, whatever the blocks."""

import numpy as np
import pytest

from keras_vit.prediction import neighbours
from keras_vit.prediction.neighbours import nearest


def draw(count, dim=7, seed=0):
    return np.random.default_rng(seed).normal(2, 1, (count, dim)).astype("float32")


def sorted_by(scores, k):
    order = np.argsort(scores, axis=-1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, -1)


def cosines(queries, vectors):
    queries, vectors = (x.astype("float64") / np.linalg.norm(x, axis=-1, keepdims=True) for x in (queries, vectors))
    return queries @ vectors.T


def distances(queries, vectors):
    return np.linalg.norm(queries[:, None].astype("float64") - vectors, axis=-1)


@pytest.mark.parametrize("blocks", [(1024, 16384), (3, 4), (1, 50)])
@pytest.mark.parametrize("k", [1, 5, 49, 80])
def test_cosines_are_those_of_all_pairs(monkeypatch, blocks, k):
    monkeypatch.setattr(neighbours, "QUERIES", blocks[0])
    monkeypatch.setattr(neighbours, "ROWS", blocks[1])
    vectors, queries = draw(50), draw(8, seed=1)
    numbers, scores = map(np.array, zip(*nearest(vectors, queries, k)))
    expected, negative = sorted_by(-cosines(queries, vectors), k)
    np.testing.assert_array_equal(numbers, expected)
    np.testing.assert_allclose(scores, -negative, atol=1e-6)


@pytest.mark.parametrize("rows", [4, 16384])
def test_distances_are_exact_far_from_the_origin(monkeypatch, rows):
    monkeypatch.setattr(neighbours, "ROWS", rows)
    vectors, queries = draw(50) + 3000, draw(8, seed=1) + 3000
    numbers, scores = map(np.array, zip(*nearest(vectors, queries, 6, "euclidean")))
    expected, found = sorted_by(distances(queries, vectors), 6)
    np.testing.assert_array_equal(numbers, expected)
    np.testing.assert_allclose(scores, found, rtol=1e-6)


@pytest.mark.parametrize("metric", neighbours.METRICS)
def test_a_query_is_not_its_own_neighbour_but_its_copy_is(monkeypatch, metric):
    monkeypatch.setattr(neighbours, "ROWS", 4)
    vectors = draw(10)
    vectors[7] = vectors[2]
    found = list(nearest(vectors, vectors[:3], 9, metric, own=[0, -1, 2]))
    assert [len(numbers) for numbers, _ in found] == [9, 9, 9]
    assert 0 not in found[0][0] and found[1][0][0] == 1 and 2 not in found[2][0] and found[2][0][0] == 7


@pytest.mark.parametrize("metric", neighbours.METRICS)
def test_of_equal_vectors_the_first_come_first(monkeypatch, metric):
    monkeypatch.setattr(neighbours, "ROWS", 4)
    vectors = np.ones((11, 3), "float32")
    numbers, _ = next(iter(nearest(vectors, vectors[:1], 5, metric)))
    assert numbers.tolist() == [0, 1, 2, 3, 4]


def test_a_vector_of_zeros_is_like_nothing():
    vectors = np.array([[0, 0], [1, 1]], "float32")
    numbers, scores = next(iter(nearest(vectors, vectors[1:], 2)))
    assert numbers.tolist() == [1, 0] and scores[1] == 0


def test_an_array_on_the_disk_is_never_whole_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "ROWS", 16)
    seen = []

    class Watched:
        """Vectors that note how many of them are taken at once."""

        shape, ndim = (100, 7), 2

        def __getitem__(self, rows):
            seen.append(len(draw(100)[rows]))
            return draw(100)[rows]

        def __len__(self):
            return 100

    numbers, _ = next(iter(nearest(Watched(), draw(1), 3)))
    assert numbers[0] == 0 and max(seen) == 16


@pytest.mark.parametrize("arguments", [{"metric": "dot"}, {"k": 0}])
def test_what_it_takes(arguments):
    with pytest.raises(ValueError, match="Expected a metric of cosine, euclidean and k of at least 1"):
        nearest(draw(3), draw(3), **{"k": 1} | arguments)


def test_vectors_of_another_model_and_broken_ones_are_refused():
    with pytest.raises(ValueError, match="those of one model"):
        nearest(draw(3), draw(3, dim=8), 1)
    broken = draw(3)
    broken[1, 2] = np.nan
    with pytest.raises(ValueError, match="vector number 1"):
        list(nearest(broken, draw(1), 1))
