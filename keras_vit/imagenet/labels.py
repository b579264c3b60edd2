"""Names of the ImageNet classes, and predictions by name.

The sets are those of the published heads: ImageNet-1k, timm's 12k, the 21,841 classes of the autumn 2011 release
("22k": ConvNeXt, Swin) and Google's 21,843 ("21k": ViT). In each, classes are in the order of their WordNet ids.
"""

import functools
import gzip
from importlib import resources

import numpy as np

_WIDTHS = {
    1000: "imagenet-1k",
    11821: "imagenet-12k",
    21841: "imagenet-22k",
    21843: "imagenet-21k-goog",
}


def imagenet_labels(name="imagenet-1k"):
    """The classes of a set as a tuple of (WordNet id, label), e.g. ("n01440764", "tench").

    Args:
        name: "imagenet-1k", "imagenet-12k", "imagenet-22k", "imagenet-21k-goog", or a set's number of classes.

    Raises:
        ValueError: for another name or number.
    """
    known = _WIDTHS.get(name, name)
    if known not in _WIDTHS.values():
        sets = ", ".join(f"{each} ({width})" for width, each in _WIDTHS.items())
        raise ValueError(f"Expected a label set or its number of classes: {sets}. Received: {name!r}.")
    return _sets()[known]


def decode_predictions(preds, top=5, labels=None):
    """The `top` best classes of each image, best first: lists of (WordNet id, label, score).

    Args:
        preds: (B, K) probabilities or logits, array or tensor; scores are returned unchanged.
        top: number of classes; all of them if there are fewer.
        labels: the names of the classes. None: the ImageNet set of K classes. The name of a set (see
            `imagenet_labels`). Or K strings of your own, which are then used as ids too.

    Raises:
        ValueError: if `preds` is not (B, K), or K is not the number of labels.
    """
    scores = np.asarray(_to_numpy(preds), dtype="float64")
    if scores.ndim != 2:
        raise ValueError(
            "preds must have two axes (images, classes); put a single image in a batch of one. "
            f"Received: shape {scores.shape}."
        )
    if top < 1:
        raise ValueError(f"top must be at least 1. Received: top={top}.")
    classes = _classes(labels, scores.shape[1])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]  # stable: ties in class order
    return [[(*classes[k], float(row[k])) for k in order] for row, order in zip(scores, best)]


def _classes(labels, width):
    """`width` pairs of (id, label)."""
    if labels is None and width not in _WIDTHS:
        raise ValueError(
            f"preds must have {_alternatives()} classes to be read as ImageNet's. Received: {width}. Pass labels= "
            "with a label per class."
        )
    if labels is None or isinstance(labels, str):
        classes = imagenet_labels(width if labels is None else labels)
    else:
        classes = [(str(label), str(label)) for label in labels]
    if len(classes) != width:
        raise ValueError(f"labels has {len(classes)} classes; preds must have as many. Received: {width}.")
    return classes


def _alternatives():
    *first, last = (str(width) for width in _WIDTHS)
    return f"{', '.join(first)} or {last}"


def _to_numpy(preds):
    """An array, from a tensor of any backend."""
    if isinstance(preds, (np.ndarray, list, tuple)):
        return np.asarray(preds)
    from keras import ops

    return ops.convert_to_numpy(preds)


@functools.cache
def _sets():
    """{set: ((id, label), ...)}, read once."""
    packed = (resources.files("keras_vit.imagenet") / "imagenet_labels.tsv.gz").read_bytes()
    header, *lines = gzip.decompress(packed).decode("utf-8").splitlines()
    sets = {name: [] for name in header.split("\t")[2:]}
    for line in lines:
        wnid, label, *members = line.split("\t")
        for classes, member in zip(sets.values(), members):
            if member:
                classes.append((wnid, label))
    return {name: tuple(classes) for name, classes in sets.items()}
