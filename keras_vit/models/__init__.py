"""Every published model by name, e.g. `keras_vit.models.SwinT()`; `help(keras_vit.models.SwinT)` says how to build it.

A model is defined once, in the file of its family. This module collects the names from there; `__init__.pyi` lists
them for editors (`python -m tests.sources.variants --write`).
"""

from keras_vit.models import coat, convnext, deit, dinov2, hybrid, pvt, pvt_v2, swin, t2t, t2t_backbones, tnt, vit
from keras_vit.models.family import Variant


def _variants(*modules):
    """The variants that modules define, in the order of their tables."""
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Variant))


FAMILIES = (
    _variants(vit),
    _variants(hybrid),
    _variants(deit),
    _variants(dinov2),
    _variants(swin),
    _variants(convnext),
    _variants(coat),
    _variants(tnt),
    _variants(t2t, t2t_backbones),
    _variants(pvt),
    _variants(pvt_v2),
)
VARIANTS = {variant.name: variant for family in FAMILIES for variant in family}

__all__ = [
    "VARIANTS",
    "coat",
    "convnext",
    "deit",
    "dinov2",
    "hybrid",
    "pvt",
    "pvt_v2",
    "swin",
    "t2t",
    "t2t_backbones",
    "tnt",
    "vit",
    *VARIANTS,
]


def __getattr__(name):
    if name not in VARIANTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return VARIANTS[name]


def __dir__():
    return sorted(__all__)
