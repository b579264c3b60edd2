"""Dividing images with several labels so that every subset has each label in proportion."""

import numpy as np


def iterative_split(labels, sizes, seed):
    """Divide images into subsets of exactly these sizes, the rarest label first.

    Iterative stratification: Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD
    2011, Algorithm 1. The label with the fewest images left is dealt out next, each of its images to the subset that
    wants most of this label, of several the one with the most room. To have no label counts as one more.

    Args:
        labels: uint8 (N, K), 1 for each label that an image has.
        sizes: images per subset; they sum to N.
        seed: of the order in which images are dealt out, and of ties.
    Returns:
        One sorted array of indices per subset; disjoint, and together all images.
    """
    labels, room = np.asarray(labels, "int64"), np.array(sizes, "float64")
    labels = np.column_stack([labels, ~labels.any(1)])
    if room.sum() != len(labels):
        raise ValueError(f"sizes must sum to {len(labels)}, the number of images. Received: {list(sizes)}.")
    generator = np.random.default_rng(seed)
    wanted = room[:, None] / len(labels) * labels.sum(0)  # subset, label
    order, subset_of = generator.permutation(len(labels)), np.full(len(labels), -1)
    while len(left := order[subset_of[order] < 0]):
        counts = labels[left].sum(0)
        rarest = np.flatnonzero(counts == counts[counts > 0].min())[0]
        for image in left[labels[left, rarest] > 0]:
            ranked = np.lexsort((generator.random(len(sizes)), room, wanted[:, rarest]))
            subset = next(one for one in ranked[::-1] if room[one] > 0)
            subset_of[image] = subset
            room[subset] -= 1
            wanted[subset] -= labels[image]
    return [np.flatnonzero(subset_of == subset) for subset in range(len(sizes))]
