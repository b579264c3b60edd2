"""`create_model`: a model by its name, as timm users know it."""

from keras_vit.models import VARIANTS
from keras_vit.sources import registry


def create_model(name, weights=None, **kwargs):
    """Build a model by name.

    Args:
        name: public name ("SwinT"), timm's or the official repository's, with or without a tag after a dot. A tag in
            the name loads those weights.
        weights: as the constructors take it, but None unless the name has a tag.
        kwargs: the other arguments of the constructors, e.g. classes, input_shape.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: for an unknown name or tag, with the closest ones; for weights beside those that the name has.
    """
    entry, row = registry.lookup(name)
    if row is not None:
        if weights not in (None, "imagenet", row.tag):
            raise ValueError(
                f"{name} names the weights {row.tag!r}; leave out weights=, or the tag. Received: weights={weights!r}"
            )
        weights = row.tag
    elif entry.name != name and "input_shape" not in kwargs and weights is None:
        kwargs["input_shape"] = (*registry.image_size_of(name), 3)
    return VARIANTS[entry.name](weights=weights, **kwargs)


def create_published(row):
    """The classifier of a catalogue row, with its weights, classes and image size.

    Raises:
        ValueError: for weights that were published without a classifier.
    """
    if not row.classes:
        raise ValueError(f"{row.name} was published without a classifier; it cannot predict classes.")
    return VARIANTS[row.constructor](weights=row.tag, classes=row.classes, input_shape=(*row.size, 3))
