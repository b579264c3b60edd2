"""Every published name, by family. `keras_vit.models.SwinT()` builds; `help(keras_vit.models.SwinT)` tells how."""

from keras_vit.models import coat, convnext, deit, hybrid, pvt, pvt_v2, swin, t2t, t2t_backbones, tnt, vit
from keras_vit.models.coat import (
    CoaTLiteMedium,
    CoaTLiteMini,
    CoaTLiteSmall,
    CoaTLiteTiny,
    CoaTMini,
    CoaTSmall,
    CoaTTiny,
)
from keras_vit.models.convnext import (
    ConvNeXtAtto,
    ConvNeXtB,
    ConvNeXtFemto,
    ConvNeXtIsoB,
    ConvNeXtIsoL,
    ConvNeXtIsoS,
    ConvNeXtL,
    ConvNeXtNano,
    ConvNeXtPico,
    ConvNeXtS,
    ConvNeXtT,
    ConvNeXtXL,
)
from keras_vit.models.deit import (
    DeiT3B,
    DeiT3H,
    DeiT3L,
    DeiT3M,
    DeiT3S,
    DeiTB,
    DeiTBDistilled,
    DeiTS,
    DeiTSDistilled,
    DeiTTi,
    DeiTTiDistilled,
)
from keras_vit.models.hybrid import ViTR26B32, ViTR26S32, ViTR50B16, ViTR50L32, ViTRTi16
from keras_vit.models.pvt import PVTLarge, PVTMedium, PVTSmall, PVTTiny
from keras_vit.models.pvt_v2 import (
    PVTV2B0,
    PVTV2B1,
    PVTV2B2,
    PVTV2B3,
    PVTV2B4,
    PVTV2B5,
    PVTV2B2Li,
)
from keras_vit.models.swin import SwinB, SwinB384, SwinL, SwinL384, SwinS, SwinT
from keras_vit.models.t2t import (
    T2TViT7,
    T2TViT10,
    T2TViT12,
    T2TViT14,
    T2TViT19,
    T2TViT24,
    T2TViTT14,
    T2TViTT19,
    T2TViTT24,
)
from keras_vit.models.t2t_backbones import T2TViT14ResNeXt, T2TViT14SE, T2TViT14Wide, T2TViT16Ghost, T2TViTDense
from keras_vit.models.tnt import TNTB, TNTS, TNTSLegacy, TNTTi
from keras_vit.models.vit import ViTB8, ViTB16, ViTB32, ViTH14, ViTL16, ViTL32, ViTS8, ViTS16, ViTS32, ViTTi16

VIT = (ViTTi16, ViTS32, ViTS16, ViTS8, ViTB32, ViTB16, ViTB8, ViTL32, ViTL16, ViTH14)
HYBRID = (ViTRTi16, ViTR26S32, ViTR26B32, ViTR50B16, ViTR50L32)
DEIT = (
    *(DeiTTi, DeiTS, DeiTB, DeiTTiDistilled, DeiTSDistilled, DeiTBDistilled),
    *(DeiT3S, DeiT3M, DeiT3B, DeiT3L, DeiT3H),
)
SWIN = (SwinT, SwinS, SwinB, SwinL, SwinB384, SwinL384)
CONVNEXT = (
    *(ConvNeXtAtto, ConvNeXtFemto, ConvNeXtPico, ConvNeXtNano),
    *(ConvNeXtT, ConvNeXtS, ConvNeXtB, ConvNeXtL, ConvNeXtXL),
    *(ConvNeXtIsoS, ConvNeXtIsoB, ConvNeXtIsoL),
)
TNT = (TNTTi, TNTS, TNTB, TNTSLegacy)
PVT = (PVTTiny, PVTSmall, PVTMedium, PVTLarge)
PVT_V2 = (PVTV2B0, PVTV2B1, PVTV2B2, PVTV2B2Li, PVTV2B3, PVTV2B4, PVTV2B5)
COAT = (
    *(CoaTLiteTiny, CoaTLiteMini, CoaTLiteSmall, CoaTLiteMedium),
    *(CoaTTiny, CoaTMini, CoaTSmall),
)
T2T = (
    *(T2TViT7, T2TViT10, T2TViT12, T2TViT14, T2TViT19, T2TViT24),
    *(T2TViTT14, T2TViTT19, T2TViTT24),
    *(T2TViT14SE, T2TViT16Ghost, T2TViTDense, T2TViT14ResNeXt, T2TViT14Wide),
)

FAMILIES = (VIT, HYBRID, DEIT, SWIN, CONVNEXT, COAT, TNT, T2T, PVT, PVT_V2)
VARIANTS = {variant.name: variant for family in FAMILIES for variant in family}

__all__ = [
    "VARIANTS",
    "coat",
    "convnext",
    "deit",
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
