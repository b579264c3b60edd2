"""The nearest vectors of an image's, among many: exact, by blocks, so that memory does not grow with their number.

    embeddings = keras_vit.load_embeddings("album.npz")
    for numbers, scores in keras_vit.nearest(embeddings.vectors, embeddings.vectors[:1], k=5):
        print([embeddings.names[number] for number in numbers], scores)

cosine      of the angle between two vectors, in [-1, 1]; the largest first
euclidean   the distance of two vectors; the smallest first
"""

import numpy as np

METRICS = ("cosine", "euclidean")
QUERIES, ROWS = 1024, 16384  # queries and vectors that are compared at once: 64 MB of scores


def nearest(vectors, queries, k, metric="cosine", own=None):
    """The k nearest of N vectors for each of Q queries.

    Args:
        vectors: float (N, D); an array on the disk (`numpy.memmap`) stays there.
        queries: float (Q, D).
        k: how many; fewer where there are no more.
        metric: of METRICS.
        own: for each query the number of its own vector, which is left out, or -1; (Q,).

    Yields:
        (numbers of the vectors (k,), their scores float32 (k,)) for each query, the nearest first; of equal ones the
        vector with the lower number.

    Raises:
        ValueError: for another metric or length of vectors, a k below 1, and vectors that are not finite.
    """
    if metric not in METRICS or k < 1:
        raise ValueError(f"Expected a metric of {', '.join(METRICS)} and k of at least 1. Received: {metric!r}, {k}.")
    if np.ndim(vectors) != 2 or np.ndim(queries) != 2 or vectors.shape[1] != queries.shape[1]:
        raise ValueError(
            "vectors (N, D) and queries (Q, D) must have the same D: those of one model. Received: "
            f"{np.shape(vectors)} and {np.shape(queries)}."
        )
    return _nearest(vectors, queries, k, metric, np.full(len(queries), -1) if own is None else np.asarray(own))


def _nearest(vectors, queries, k, metric, own):
    score = {"cosine": _cosines, "euclidean": _closeness}[metric]
    for start in range(0, len(queries), QUERIES):
        block = _finite(queries[start : start + QUERIES], start, "query")
        left_out = own[start : start + QUERIES]
        best = [(np.zeros(0, int), np.zeros(0, "float32"))] * len(block)
        for first in range(0, len(vectors), ROWS):
            rows = _finite(vectors[first : first + ROWS], first, "vector")
            scores = score(block, rows)
            inside = np.flatnonzero((left_out >= first) & (left_out < first + len(rows)))
            scores[inside, left_out[inside] - first] = -np.inf
            best = [_merged(known, one, first, k) for known, one in zip(best, scores)]
        for query, (numbers, scores) in zip(block, best):
            yield (numbers, scores) if metric == "cosine" else _by_distance(vectors, query, numbers)


def _finite(rows, first, what):
    rows = np.asarray(rows, "float32")
    if not np.isfinite(rows).all():
        number = first + int(np.flatnonzero(~np.isfinite(rows).all(-1))[0])
        raise ValueError(f"The {what} number {number} (from 0) is not finite; embed its image again.")
    return rows


def _cosines(queries, rows):
    """(Q, D), (N, D) -> (Q, N)."""
    return unit(queries) @ unit(rows).T


def unit(vectors):
    """Vectors (..., D) divided by their lengths, as float32; zero stays zero."""
    lengths = np.linalg.norm(vectors.astype("float64"), axis=-1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype("float32")


def _closeness(queries, rows):
    """Minus the squared distances, up to a number for each query.  (Q, D), (N, D) -> (Q, N)."""
    queries, rows = queries.astype("float64"), rows.astype("float64")  # of large products, small differences
    return 2 * (queries @ rows.T) - np.square(rows).sum(-1)


def _merged(known, scores, first, k):
    """The k best of those that are known and of a block of scores (N,), whose first vector has the number `first`."""
    numbers, values = known
    near = np.arange(len(scores))
    if k < len(scores):  # only what reaches the k-th largest is sorted
        near = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    near = near[scores[near] > -np.inf]
    numbers, values = np.concatenate([numbers, near + first]), np.concatenate([values, scores[near]])
    best = np.argsort(-values, kind="stable")[:k]
    return numbers[best], values[best]


def _by_distance(vectors, query, numbers):
    """Numbers and exact distances, which the differences of large products are not."""
    rows = np.asarray(vectors[numbers], "float64")
    distances = np.sqrt(np.square(rows - query).sum(-1)).astype("float32")
    order = np.argsort(distances, kind="stable")
    return numbers[order], distances[order]
