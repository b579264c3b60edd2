"""T2T-ViT from scratch on ImageNet -- Yuan et al., arXiv:2101.11986, Sec. 4.1, and the published command.

    keras-vit train --recipe t2t --dataset records --data-dir imagenet --output runs/t2t_vit_14

The published code keeps a moving average of the weights and reports the better of both.

Expected: top-1 81.5 % (T2TViT14), 81.9 % (T2TViT19), 82.3 % (T2TViT24), as published; not reproduced here.
"""

from keras_vit.training.recipes import deit

RECIPE = deit.RECIPE.replace(
    model="T2TViT14",
    epochs=310,
    batch_size=512,
    lr=5e-4,
    warmup_epochs=10,
    model_ema_decay=0.99996,
    aug_repeats=1,
)
