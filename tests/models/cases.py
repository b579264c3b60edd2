"""Which toys a test runs on, quickly or not."""

import pytest

from tests.models.toys import TOYS


def params(quick, names=TOYS):
    """The names as parameters of a test: those of `quick` in `make test`, the others in `make test-all` only."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def one_per_paper():
    """A toy of every paper; the further ones of `one_per_family` are built of the same layers."""
    further = ("coat", "convnext_isotropic", "deit", "deit3", "t2t_dense", "t2t_ghost", "t2t_se")
    return [toy for toy in one_per_family() if toy not in further]


def one_per_family():
    """The first toy of every family; the second and later ones are further mechanisms of it.

    DINOv2 without registers is made of DeiT-III's layers, in ViT's order, DeiT with one head of the distilled one's.
    """
    first = {id(variant.family): toy for toy, (variant, _) in reversed(TOYS.items())}
    return [toy for toy in first.values() if toy not in ("dinov2", "deit_one_head")]
