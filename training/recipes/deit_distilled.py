"""DeiT with a distillation token and hard labels of a teacher -- Touvron et al., arXiv:2012.12877, Sec. 4 and Table 9.

    keras-vit train --recipe deit_distilled --dataset records --data-dir imagenet --output runs/deit_s_distilled

All settings are those of `deit`. The paper's teacher is RegNetY-16GF (82.9 %), which this library lacks; ConvNeXtT
(82.1 %, from the same images alone) takes its place. `--teacher` takes any other name, run folder, .keras file or
SavedModel of the same classes. The paper finds a convolutional teacher better than a transformer (Table 2).

Expected: top-1 74.5 % (DeiTTiDistilled), 81.2 % (DeiTSDistilled), 83.4 % (DeiTBDistilled), as published with the
paper's teacher; not reproduced here.
"""

from keras_vit.training.recipes import deit

RECIPE = deit.RECIPE.replace(
    model="DeiTSDistilled",
    teacher="ConvNeXtT.fb_in1k",
    distillation="hard",
    distillation_alpha=0.5,
)
