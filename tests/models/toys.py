"""Toy architectures: every mechanism of a family at a hundredth of the size.

Odd numbers where they are legal (3 heads, 5 x 5 grids, sides that differ), so that swapped axes cannot hide.
"""

from keras_vit.models import coat, convnext, deit, dinov2, hybrid, pvt, pvt_v2, swin, t2t, t2t_backbones, tnt, vit
from keras_vit.models.family import Variant

# name: (variant, input shape)
TOYS = {
    "vit": (Variant("ToyViT", vit.VIT, vit.Config(24, 2, 3, 8)), (40, 48, 3)),
    "hybrid": (Variant("ToyHybrid", hybrid.HYBRID, hybrid.Config((1, 2), vit.Config(24, 2, 3, 1))), (40, 48, 3)),
    "hybrid_stem": (Variant("ToyHybridStem", hybrid.HYBRID, hybrid.Config((), vit.Config(24, 2, 3, 2))), (40, 48, 3)),
    "deit": (Variant("ToyDeiT", deit.DEIT, vit.Config(24, 2, 3, 8)), (40, 48, 3)),
    "deit_distilled": (Variant("ToyDistilled", deit.DEIT_DISTILLED, vit.Config(24, 2, 3, 8)), (40, 48, 3)),
    "deit_one_head": (Variant("ToyOneHead", deit.DEIT_ONE_HEAD, vit.Config(24, 2, 3, 8)), (40, 48, 3)),
    "deit3": (Variant("ToyDeiT3", deit.DEIT3, vit.Config(24, 2, 3, 8)), (40, 48, 3)),
    "dinov2": (
        Variant("ToyDINOv2", dinov2.DINOV2, dinov2.Config(24, 2, 3, 8, pool="token_and_mean")),
        (40, 48, 3),
    ),
    "dinov2_registers": (
        Variant("ToyDINOv2Reg", dinov2.DINOV2_REGISTERS, dinov2.Config(24, 2, 3, 8, "swiglu", registers=3)),
        (40, 48, 3),
    ),
    "swin": (Variant("ToySwin", swin.SWIN, swin.Config(12, (2, 2), (3, 6), 3, 4)), (48, 60, 3)),
    "convnext": (Variant("ToyConvNeXt", convnext.CONVNEXT, convnext.Config((1, 2), (8, 16))), (32, 40, 3)),
    "convnext_isotropic": (
        Variant("ToyConvNeXtIso", convnext.CONVNEXT_ISOTROPIC, convnext.IsotropicConfig(2, 12, True)),
        (32, 48, 3),
    ),
    "coat": (
        Variant(
            "ToyCoaT",
            coat.COAT,
            coat.Config((10, 15, 15, 15), (1, 1, 1, 1), (2, 3, 3, 3), 2, (1, 2, 2)),
        ),
        (64, 96, 3),
    ),
    "coat_lite": (
        Variant(
            "ToyCoaTLite",
            coat.COAT_LITE,
            coat.Config((8, 12, 12, 16), (1, 1, 1, 2), (2, 2, 1, 1), head_groups=(1, 1, 2)),
        ),
        (64, 96, 3),
    ),
    "tnt": (Variant("ToyTNT", tnt.TNT, tnt.Config(24, 2, 3, 6, 2, 8)), (40, 48, 3)),
    "tnt_legacy": (Variant("ToyTNTLegacy", tnt.TNT, tnt.Config(24, 2, 3, 6, 2, 8, legacy=True)), (40, 48, 3)),
    "pvt": (Variant("ToyPVT", pvt.PVT, pvt.Config((1, 2), (12, 18), (1, 3), (2, 3), (2, 1))), (40, 48, 3)),
    "pvt_v2": (
        Variant("ToyPVTV2", pvt_v2.PVT_V2, pvt_v2.Config((1, 2), (12, 18), (1, 3), (2, 3), (2, 1))),
        (36, 45, 3),
    ),
    "pvt_v2_linear": (
        Variant("ToyPVTV2Li", pvt_v2.PVT_V2, pvt_v2.Config((1, 2), (12, 18), (1, 3), (2, 3), None)),
        (36, 45, 3),
    ),
    "t2t": (Variant("ToyT2T", t2t.T2T, t2t.Config(18, 2, 3, 2, token_dim=8)), (32, 48, 3)),
    "t2t_transformer": (
        Variant("ToyT2TT", t2t.T2T, t2t.Config(18, 2, 3, 2, performer=False, token_dim=8)),
        (32, 48, 3),
    ),
    "t2t_se": (Variant("ToyT2TSE", t2t_backbones.T2T_SE, t2t.Config(96, 2, 3, 1, token_dim=8)), (32, 48, 3)),
    "t2t_ghost": (Variant("ToyT2TGhost", t2t_backbones.T2T_GHOST, t2t.Config(18, 2, 3, 3, token_dim=8)), (32, 48, 3)),
    "t2t_dense": (
        Variant("ToyT2TDense", t2t_backbones.T2T_DENSE, t2t_backbones.DenseConfig(18, (2, 1), 6, 3, token_dim=8)),
        (32, 48, 3),
    ),
}
