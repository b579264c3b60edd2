"""How evenly the images are spread over the classes, and what a recipe does about it, in words."""

import numpy as np

UNEVEN = 2  # images of the largest class for each of the rarest, from which on a run's header tells
VERY_UNEVEN = 10  # from which on a remedy is proposed
WEIGHTED = {
    "balanced": "weighted in inverse proportion to their images",
    "effective": "weighted by their effective number of images",
}
DRAWN = {"balanced": "each class drawn as often", "sqrt": "drawn by the square root of their images"}


def ratio(counts):
    """Images of the largest class for each of the rarest; infinite if a class has none."""
    counts = np.asarray(counts)
    return float("inf") if not counts.min() else float(counts.max() / counts.min())


def spread(classes, counts):
    """How many images the classes have: "60 (bag) to 6,000 (shirt), 100 : 1".

    Args:
        classes: names of the classes.
        counts: images of each.
    """
    counts = np.asarray(counts)
    if counts.min() == counts.max():
        return f"{counts[0]:,}"
    least, most = counts.argmin(), counts.argmax()
    text = f"{counts[least]:,} ({classes[least]}) to {counts[most]:,} ({classes[most]})"
    return text + (f", {ratio(counts):.3g} : 1" if counts[least] else "")


def labels_per_image(labels):
    """How many labels the images have, of labels (N, K): "1.8 on average, 0 to 5; 12 images have none"."""
    counts = np.asarray(labels).sum(1, dtype="int64")
    none = int((counts == 0).sum())
    text = f"{counts.mean():.3g} on average, {counts.min()} to {counts.max()}"
    return text + (f"; {none:,} image{'s have' if none > 1 else ' has'} none" if none else "")


def remedies(recipe):
    """What a recipe does about uneven classes, a list of texts; empty if nothing."""
    weights = recipe.class_weights
    done = [weights and WEIGHTED.get(weights, f"weighted by {weights}"), DRAWN.get(recipe.sampler)]
    return [text for text in done if text] + (["focal loss"] if recipe.loss == "focal" else [])


def notes(data_set, recipe):
    """{name: text} for the header of a run: what is uneven in the training split, and what is done about it."""
    counts, done = data_set.train.class_counts(len(data_set.classes)), remedies(recipe)
    found = {}
    if data_set.multi_label:
        found["labels per image"] = labels_per_image(data_set.train.labels)
    if done or ratio(counts) >= UNEVEN:
        proposed = "nothing is done about it: see class_weights and sampler" if ratio(counts) >= VERY_UNEVEN else ""
        found["images per class"] = "; ".join(
            filter(None, [spread(data_set.classes, counts), ", ".join(done) or proposed])
        )
    return found
