"""`create_model`: a model by its name, as timm users know it, or from a folder that transformers or timm saved."""

import dataclasses
import logging
import math

from keras_vit.models import VARIANTS, library_config
from keras_vit.models.config_fields import Architecture, least_weights
from keras_vit.models.family import Variant
from keras_vit.sources import library_folder, registry, resolve
from keras_vit.weights import readers, rules
from keras_vit.weights.entries import WeightFileError

log = logging.getLogger("keras_vit")


def create_model(name, weights=None, **kwargs):
    """Build a model by name, or from a folder of another library.

    Args:
        name: public name ("SwinT"), timm's or the official repository's, with or without a tag after a dot. A tag in
            the name loads those weights. Or a folder that transformers' `save_pretrained` or timm's `save_for_hf` wrote
            (or its hf://owner/name): its architecture, in no table maybe, with its weights.
        weights: as the constructors take it, but None unless the name has a tag.
        kwargs: the other arguments of the constructors, e.g. classes, input_shape.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: for an unknown name or tag, with the closest ones; for weights beside those that the name has.
    """
    try:
        entry, row = registry.lookup(name)
    except ValueError:
        found = resolve.at_path(name)
        if found is None and resolve.is_path(name):
            raise resolve.SourceNotFoundError(
                f"{name} does not exist, or is no model. Expected a model's name or {resolve.KINDS['library']}."
            ) from None
        if found is None:
            raise
        return _create_from(name, found, weights, kwargs)
    if row is not None:
        if weights not in (None, "imagenet", row.tag):
            raise ValueError(
                f"{name} names the weights {row.tag!r}; leave out weights=, or the tag. Received: weights={weights!r}"
            )
        weights = row.tag
    elif entry.name != name and "input_shape" not in kwargs and weights is None:
        kwargs["input_shape"] = (*registry.image_size_of(name), 3)
    return VARIANTS[entry.name](weights=weights, **kwargs)


def create_published(row, size=None):
    """The classifier of a catalogue row, with its weights, classes and image size.

    Args:
        row: of the catalogue.
        size: (H, W) in pixels of its images; those of the row if None.

    Raises:
        ValueError: for weights that were published without a classifier.
    """
    if not row.classes:
        raise ValueError(f"{row.name} was published without a classifier; it cannot predict classes.")
    return VARIANTS[row.constructor](weights=row.tag, classes=row.classes, input_shape=(*(size or row.size), 3))


def _create_from(name, found, weights, kwargs):
    """A model from what a path resolves to."""
    if found.kind != "library":
        raise ValueError(
            f"{name} is {resolve.KINDS[found.kind]}. create_model takes a model's name or "
            f"{resolve.KINDS['library']}; `keras_vit.Predictor.open` opens all kinds."
        )
    if weights not in (None, "imagenet"):
        raise ValueError(f"{name} has weights of its own; leave out weights=. Received: weights={weights!r}")
    return create_from_folder(found.path, **kwargs)


def variant_of(folder):
    """(the `Variant` that an opened `LibraryFolder` holds, the shape (H, W, C) of its images).

    A variant of a table, where it is exactly that; else one of its own, named by its family.
    """
    architecture = library_config.read(folder)
    same = (v for v in VARIANTS.values() if v.family is architecture.family and v.config == architecture.config)
    name = architecture.family.name.replace(" ", "").replace("-", "")
    own = Variant(name, architecture.family, architecture.config)
    return next(same, own), architecture.input_shape


def create_from_folder(folder, **kwargs):
    """Build the model of a folder that transformers or timm saved, with its weights.

    Args:
        folder: its path.
        kwargs: arguments of the constructors but for `weights`. By default the image size is that of config.json, and
            the classifier the folder's; without one in the folder, and without `classes`, the model returns features.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: for an architecture that is not here (with the closest), for what a family does not have (with the
            field), for a classifier that does not fit its labels, and for weights that do not fit config.json.
    """
    opened = library_folder.open_folder(folder)
    variant, shape = variant_of(opened)
    weights = opened.weights
    entries = readers.read(weights)
    variant = _with_biases(variant, entries, weights)
    stored = _stored_classes(variant.family, entries, weights)
    _require_labels(opened, weights, stored)
    if stored is None and not {"classes", "include_top"} & set(kwargs):
        log.info("%s has no classifier: the model returns features", weights)
        kwargs["include_top"] = False
    if stored is not None and kwargs.get("include_top", True):
        kwargs.setdefault("classes", stored)
    kwargs.setdefault("input_shape", shape)
    if None in kwargs["input_shape"]:
        kwargs.setdefault("native_size", shape[:2])
    _require_room(opened, variant, shape, entries)
    return variant(weights=str(weights), **kwargs)


def _with_biases(variant, entries, weights):
    """TensorFlow's ViT and DeiT have biases of q, k and v, whatever config.json says: as the file has them."""
    if weights.suffix != ".h5" or getattr(variant.config, "qkv_bias", True):
        return variant
    biased = any(name.endswith(".query.bias") for name in entries)
    return Variant(variant.name, variant.family, dataclasses.replace(variant.config, qkv_bias=biased))


def _stored_classes(family, entries, weights):
    """The number of classes of the classifier in a file; None without one."""
    shapes = entries.shapes()
    bias = f"{family.head[0]}/bias"
    for layout in family.layouts:
        found = rules.match(layout, shapes).assignments.get(bias)
        if found is not None:
            return shapes[found.names[0]][-1]
    return None


def _require_labels(folder, weights, stored):
    """Raise unless the classifier has as many classes as config.json has names for."""
    named = folder.classes
    if stored is not None and named and stored != named:
        field = "num_classes" if folder.library == "timm" else "id2label"
        raise WeightFileError(
            f"{weights}: its classifier has {stored} classes, and {folder.config} states {named} ({field}). "
            "Save the model again with the config.json that it was trained with, or correct that field."
        )


def _require_room(folder, variant, shape, entries):
    """Raise if config.json describes a model with more weights than the file holds, before they take memory."""
    least = least_weights(Architecture(variant.family, variant.config, shape))
    held = sum(map(math.prod, entries.shapes().values()))
    if least > held:
        raise WeightFileError(
            f"{folder.config} describes a model of more than {least:,} weights, and {entries.path} holds {held:,}. "
            "Expected the config.json of these weights."
        )
