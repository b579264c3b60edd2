"""Accuracy of a `Predictor` over picture files whose classes are known."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
IMAGENET_SETS = (1000, 11821, 21841, 21843)  # numbers of classes that `imagenet_labels` knows
READERS = 4  # threads that decode and resize while the model runs


@dataclass(frozen=True)
class Accuracy:
    """What `evaluate` found; accuracies in percent of the pictures that could be read."""

    top1: float
    top5: float  # of the best k
    k: int  # 5, or the number of classes if there are fewer
    images: int
    bad: tuple[Path, ...]  # files that could not be read


def evaluate(predictor, pictures, batch_size=32, max_bad_fraction=0.05, progress=None):
    """Top-1 and top-5 accuracy.

    Args:
        pictures: (path, number of the class) pairs.
        max_bad_fraction: share of unreadable files, in [0, 1], above which the result is refused.
        progress: None, or called with (pictures done, pictures in all) after every batch.
    Raises: ValueError without pictures, or naming the first unreadable ones if there are too many.
    """
    pictures = list(pictures)
    if not pictures or batch_size < 1:
        raise ValueError(
            "evaluate needs a picture at least, and batches of one or more. "
            f"Received: {len(pictures)} pictures, batch_size={batch_size}."
        )
    k = min(5, len(predictor.labels))
    hits, bad = [np.zeros((0, k), bool)], []
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(pictures), batch_size):
            batch = pictures[start : start + batch_size]
            prepared = list(pool.map(lambda one: _prepare(predictor, one[0]), batch))
            bad += [path for (path, _), image in zip(batch, prepared) if image is None]
            _refuse_too_many(bad, len(pictures), max_bad_fraction)
            good = [(image, label) for image, (_, label) in zip(prepared, batch) if image is not None]
            if good:
                scores = predictor.predict_prepared([image for image, _ in good], batch_size)
                hits.append(_hits(scores, [label for _, label in good], k))
            if progress:
                progress(start + len(batch), len(pictures))
    hits = np.concatenate(hits)
    if not len(hits):
        raise ValueError(f"None of the {len(pictures)} pictures can be read, {bad[0]} for one.")
    top1, top5 = 100 * hits[:, 0].mean(), 100 * hits.any(1).mean()
    return Accuracy(float(top1), float(top5), k, len(hits), tuple(bad))


def class_folders(folder, labels):
    """The pictures of a folder of class folders as (path, number of the class), in order.

    A folder is called as a label is, whatever the case, or, where the labels are ImageNet's, by the
    class's WordNet id. Classes without a folder are not asked for; a folder without a class is an
    error.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; expected a folder with a folder per class.")
    (exact, folded), found = _numbers_of_names(labels), []
    for entry in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        number = exact.get(entry.name, folded.get(_folded(entry.name)))
        if number is None:
            some = ", ".join(repr(label) for label in labels[:5])
            raise ValueError(
                f"{entry} is called like none of the model's {len(labels)} classes, or like two of "
                f"them. They are {some}{', ...' if len(labels) > 5 else ''}."
            )
        inside = sorted(path for path in entry.rglob("*") if path.suffix.lower() in PICTURES)
        found += [(path, number) for path in inside]
    if not found:
        raise ValueError(f"{folder} holds no folder with pictures ({', '.join(PICTURES)}).")
    return found


def _numbers_of_names(labels):
    """{label or WordNet id: number} and {folded label: number}, without names of two classes."""
    from keras_vit.labels import imagenet_labels

    exact, folded = _once(labels), _once([_folded(label) for label in labels])
    if len(labels) in IMAGENET_SETS:
        classes = imagenet_labels(len(labels))
        if [label for _, label in classes] == list(labels):
            exact.update((wnid, number) for number, (wnid, _) in enumerate(classes))
    return exact, folded


def _once(names):
    counts = Counter(names)
    return {name: number for number, name in enumerate(names) if counts[name] == 1}


def _folded(name):
    return name.casefold().replace("_", " ")


def _prepare(predictor, path):
    """The prepared picture, or None if the file cannot be read."""
    try:
        return predictor.prepare(path)
    except (ValueError, OSError):
        return None


def _refuse_too_many(bad, total, fraction):
    if len(bad) > fraction * total:
        names = ", ".join(str(path) for path in bad[:3])
        raise ValueError(
            f"{len(bad)} of {total} pictures cannot be read, more than the allowed share of "
            f"{fraction:g}: {names}{', ...' if len(bad) > 3 else ''}."
        )


def _hits(scores, labels, k):
    """(N, k) booleans: whether the class is the best, the second, ... the k-th guess."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return best == np.asarray(labels)[:, None]
