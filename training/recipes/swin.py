"""Swin from scratch on ImageNet -- Liu et al., arXiv:2103.14030, Appendix A2.1.

    keras-vit train --recipe swin --dataset records --data-dir imagenet --output runs/swin_t
    keras-vit train --recipe swin --model SwinB --drop-path 0.5 ...

drop_path is 0.2 for SwinT, 0.3 for SwinS, 0.5 for SwinB. Repeated augmentation and moving averages did not help and
are not used; all else is as in `deit`.
Learning rate: 5e-4 x batch / 512 in the published code; it clips the gradient at 5, the paper says 1.

Expected: top-1 81.3 % (SwinT), 83.0 % (SwinS), 83.5 % (SwinB), as published; not reproduced here.
"""

from keras_vit.training.recipes import deit

RECIPE = deit.RECIPE.replace(model="SwinT", warmup_epochs=20, clip_grad=1.0, drop_path=0.2, aug_repeats=1)
