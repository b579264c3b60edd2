"""Every published name, by family. `keras_vit.models.SwinT()` builds; `help(keras_vit.models.SwinT)` tells how."""

from keras_vit.models import convnext, swin, vit
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
from keras_vit.models.swin import SwinB, SwinB384, SwinL, SwinL384, SwinS, SwinT
from keras_vit.models.vit import ViTB8, ViTB16, ViTB32, ViTH14, ViTL16, ViTL32, ViTS8, ViTS16, ViTS32, ViTTi16

VIT = (ViTTi16, ViTS32, ViTS16, ViTS8, ViTB32, ViTB16, ViTB8, ViTL32, ViTL16, ViTH14)
SWIN = (SwinT, SwinS, SwinB, SwinL, SwinB384, SwinL384)
CONVNEXT = (
    *(ConvNeXtAtto, ConvNeXtFemto, ConvNeXtPico, ConvNeXtNano),
    *(ConvNeXtT, ConvNeXtS, ConvNeXtB, ConvNeXtL, ConvNeXtXL),
    *(ConvNeXtIsoS, ConvNeXtIsoB, ConvNeXtIsoL),
)

VARIANTS = {variant.name: variant for variant in (*VIT, *SWIN, *CONVNEXT)}

__all__ = ["VARIANTS", "convnext", "swin", "vit", *VARIANTS]
