"""Every published name, by family. `keras_vit.models.SwinT()` builds; `help(keras_vit.models.SwinT)` tells how."""

from keras_vit.models import convnext, deit, hybrid, swin, vit
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
from keras_vit.models.swin import SwinB, SwinB384, SwinL, SwinL384, SwinS, SwinT
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

VARIANTS = {variant.name: variant for variant in (*VIT, *HYBRID, *DEIT, *SWIN, *CONVNEXT)}

__all__ = ["VARIANTS", "convnext", "deit", "hybrid", "swin", "vit", *VARIANTS]
