"""Two sets of outputs for the same images, side by side: which classes they give, and how far they are apart."""

import numpy as np


def best_classes(probabilities):
    """The most probable class of each image, int64 (N,); with a single class, 1 where its probability is below 0.5."""
    return _distributions(probabilities).argmax(-1)


def given_classes(probabilities, thresholds=None):
    """The `best_classes` (N,); with thresholds (K,), of several labels per image, which it has, bool (N, K)."""
    return best_classes(probabilities) if thresholds is None else probabilities >= thresholds


def share(one, other):
    """The share of the images for which two `given_classes` are the same; bool (N, K) in all K."""
    same = one == other
    return float((same.all(-1) if same.ndim == 2 else same).mean())


def logits(probabilities, thresholds=None):
    """Logits, known up to a constant per image: log-probabilities minus their mean, float64 (N, K or 2).

    With thresholds, of several labels per image, those of independent probabilities: log(p / (1 - p)), which float32
    knows up to 1 - 6e-8.
    """
    if thresholds is not None:
        found = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
        return np.log(found) - np.log1p(-found)
    found = np.log(np.maximum(_distributions(probabilities).astype(np.float64), 1e-12))
    return found - found.mean(-1, keepdims=True)


def cosine_of_logits(one, other, thresholds):
    """Per image."""
    return cosines(logits(one, thresholds), logits(other, thresholds))


def cosines(one, other):
    """The cosine of each image's numbers (N, ...) with others, (N,); a map counts as one vector."""
    one, other = (np.asarray(values, "float64").reshape(len(values), -1) for values in (one, other))
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return np.where(lengths == 0, 1.0, (one * other).sum(-1) / np.maximum(lengths, 1e-30))  # NaN stays NaN


def relative(values, reference):
    """Largest difference, relative to the largest value if that is above 1."""
    return float(np.abs(values - reference).max() / max(np.abs(reference).max(), 1.0))


def difference_from_bytes(outputs, expected, taken):
    """Largest difference of the scores of encoded images; with several labels also of those that were left out.

    Those of which an image does not have the class are known to be below its threshold only: what they exceed it by in
    the Keras model is their difference.
    """
    class_ids, given = outputs["class_ids"], (outputs["class_ids"] >= 0) & taken[:, np.newaxis]
    scores = np.take_along_axis(expected.probabilities, np.maximum(class_ids, 0), axis=1)
    found = np.abs(outputs["scores"] - scores)[given].max(initial=0)
    if expected.thresholds is None:
        return float(found)
    least = np.tile(expected.thresholds, (len(class_ids), 1))  # N K; of more than k classes the k-th is the limit
    full = class_ids[:, -1] >= 0
    least[full] = np.maximum(least[full], outputs["scores"][full, -1:])
    left_out = np.ones(least.shape, bool)
    rows, _ = np.nonzero(given)
    left_out[rows, class_ids[given]] = False
    beyond = (expected.probabilities - least)[left_out & taken[:, np.newaxis]]
    below = (expected.thresholds[class_ids] - scores)[given]  # given, though the Keras model is below the threshold
    return float(max(found, beyond.max(initial=0), below.max(initial=0)))


def known_from_bytes(outputs, expected, taken, answers):
    """The difference of serving_default's scores of known images; an error if it decides otherwise than they say."""
    if expected.known is None:
        return {}
    known, unknown = outputs["known_score_of_files"][taken], outputs["unknown"][taken]
    if (unknown != (known < np.float32(answers.unknown["threshold"]))).any():
        raise ValueError("The SavedModel calls other images unknown than its known_score and threshold say.")
    return {"largest_difference_of_known_scores_from_bytes": relative(known, expected.known[taken])}


def _distributions(probabilities):
    """The probabilities; those of a single class get its complement as a second one."""
    return np.concatenate([probabilities, 1 - probabilities], -1) if probabilities.shape[-1] == 1 else probabilities
