"""Models by name: `create_model`, `list_models`, `info`."""

import difflib
import fnmatch
from dataclasses import dataclass

from keras_vit.models import VARIANTS
from keras_vit.weights import catalogue


def lookup(name):
    """The variant and the weights that a name stands for.

    Args:
        name: public name ("SwinT"), the name of timm or of the official repository
            ("swin_tiny_patch4_window7_224", "convnext_isotropic_small"), either with a tag after a dot
            ("SwinT.ms_in22k", "swin_tiny_patch4_window7_224.ms_in22k").
    Returns:  (Variant, catalogue.Row or None).
    Raises:   ValueError with the closest names.
    """
    base, _, tag = str(name).partition(".")
    timm = next((row for row in catalogue.rows() if row.timm_name == name and row.constructor in VARIANTS), None)
    if timm is not None:
        return VARIANTS[timm.constructor], timm
    variant = VARIANTS.get(base) or _aliases().get(base)
    if variant is None:
        names = [*VARIANTS, *_aliases()]
        near = [n for n in names if n.lower().startswith(base.lower())][:3]
        near = near or difflib.get_close_matches(base, names, n=3, cutoff=0.4)
        raise ValueError(
            f"No model is called {base!r}. Closest: {', '.join(near) or 'none'}. "
            "keras_vit.list_models() gives them all"
        )
    return variant, catalogue.find(variant.name, tag) if tag else None


def _aliases():
    """Other names of variants: timm's or the official repository's, at every size that weights exist for."""
    names = {variant.alias: variant for variant in VARIANTS.values() if variant.alias}
    for row in catalogue.rows():
        if row.timm_name and row.constructor in VARIANTS:
            names.setdefault(row.timm_name.partition(".")[0], VARIANTS[row.constructor])
    return names


def create_model(name, weights=None, **kwargs):
    """Builds a model by name, as timm users know it.

    Args:
        name: anything that `lookup` takes. A tag in the name loads those weights.
        weights: as the constructors take it, but None unless the name has a tag.
        kwargs: the other arguments of the constructors, e.g. classes, input_shape.
    """
    variant, row = lookup(name)
    if row is not None:
        if weights not in (None, "imagenet", row.tag):
            raise ValueError(
                f"{name} names the weights {row.tag!r}. Expected no other ones. Received: weights={weights!r}"
            )
        weights = row.tag
    elif variant.name != name and "input_shape" not in kwargs and weights is None:
        kwargs.setdefault("input_shape", _size_of_alias(name, variant))
    return variant(weights=weights, **kwargs)


def _size_of_alias(name, variant):
    """The input that a name such as vit_base_patch16_384 speaks of."""
    sizes = {row.size for row in catalogue.rows(variant.name) if row.timm_name.partition(".")[0] == name}
    return (*(sizes.pop() if len(sizes) == 1 else variant.image_size), 3)


def list_models(pattern="*", pretrained=False):
    """Public names that match a shell pattern; with `pretrained`, one "name.tag" for each set of weights.

    The pattern is held against the public name and the alias, whatever the case: "swin*", "vit_base*".
    """
    found = []
    for variant in VARIANTS.values():
        texts = [variant.name.lower(), (variant.alias or "").lower()]
        names = [f"{variant.name}.{tag}" for tag in variant.tags] if pretrained else [variant.name]
        for name in names:
            if any(fnmatch.fnmatchcase(text, pattern.lower()) for text in (*texts, name.lower())):
                found.append(name)
    return found


@dataclass(frozen=True)
class Info:
    """What is known of a model and its weights; print it."""

    name: str
    family: str
    paper: str
    parameters: int
    alias: str | None
    config: object
    weights: tuple[catalogue.Row, ...]

    def __str__(self):
        head = (
            f"{self.name}: {self.family}, arXiv:{self.paper}\n"
            f"  parameters    {self.parameters:,} at the native size with 1000 classes\n"
            f"  also known as {self.alias}\n"
            f"  architecture  {self.config}\n"
        )
        return (
            head
            + "\n".join(_describe(row) for row in self.weights)
            + ("" if self.weights else "  no published weights")
        )


def _describe(row):
    size = f"{row.size[0]} x {row.size[1]}"
    return (
        f"  weights {row.tag!r}{' (default)' if row.default else ''}\n"
        f"    origin        {row.hub_id or row.url}\n"
        f"    licence       {row.licence}\n"
        f"    trained on    {row.pretraining}; {row.classes or 'no'} classes\n"
        f"    top-1         {row.top1 or 'not published'} (as published, not measured here)\n"
        f"    preprocessing {size} pixels, {row.interpolation}, crop {row.crop_pct} ({row.crop_mode}), "
        f"mean {row.mean}, std {row.std}"
    )


def info(name):
    """Origin, licence, published accuracy and preprocessing of a model's weights, as an object that prints well.

    Args:
        name: anything that `lookup` takes; with a tag, only those weights.
    """
    variant, row = lookup(name)
    rows = (row,) if row is not None else tuple(catalogue.rows(variant.name))
    return Info(
        variant.name, variant.family.name, variant.family.paper, variant.parameters, variant.alias, variant.config, rows
    )
