"""Toy architectures: every mechanism of a family at a hundredth of the size.

Odd numbers where they are legal (3 heads, 5 x 5 grids, sides that differ), so that swapped axes cannot hide.
"""

from keras_vit.models import convnext, deit, hybrid, swin, vit
from keras_vit.models.family import Variant

# name: (variant, input shape)
TOYS = {
    "vit": (Variant("ToyViT", vit.VIT, vit.Config(24, 2, 3, 8), 20_992), (40, 48, 3)),
    "hybrid": (Variant("ToyHybrid", hybrid.HYBRID, hybrid.Config((1, 2), vit.Config(24, 2, 3, 1)), 0), (40, 48, 3)),
    "hybrid_stem": (Variant("ToyHybridStem", hybrid.HYBRID, hybrid.Config((), vit.Config(24, 2, 3, 2)), 0), (40, 48, 3)),
    "deit": (Variant("ToyDeiT", deit.DEIT, vit.Config(24, 2, 3, 8), 0), (40, 48, 3)),
    "deit_distilled": (Variant("ToyDistilled", deit.DEIT_DISTILLED, vit.Config(24, 2, 3, 8), 0), (40, 48, 3)),
    "deit3": (Variant("ToyDeiT3", deit.DEIT3, vit.Config(24, 2, 3, 8), 0), (40, 48, 3)),
    "swin": (Variant("ToySwin", swin.SWIN, swin.Config(12, (2, 2), (3, 6), 3, 4), 22_633), (48, 60, 3)),
    "convnext": (Variant("ToyConvNeXt", convnext.CONVNEXT, convnext.Config((1, 2), (8, 16)), 9_000), (32, 40, 3)),
    "convnext_isotropic": (
        Variant("ToyConvNeXtIso", convnext.CONVNEXT_ISOTROPIC, convnext.IsotropicConfig(2, 12, True), 9_000),
        (32, 48, 3),
    ),
}
