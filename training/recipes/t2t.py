"""T2T-ViT from scratch on ImageNet -- Yuan et al., arXiv:2101.11986, Sec. 4.1, and the published command.

    keras-vit train --recipe t2t --dataset records --data-dir imagenet --output runs/t2t_vit_14
    keras-vit train --recipe t2t --model T2TViT19 --weight-decay 0.065 ...
    keras-vit train --recipe t2t --model T2TViT7 --lr 1e-3 --weight-decay 0.03 ...

weight_decay is 0.065 for T2TViT19, T2TViT24, T2TViTT19 and T2TViTT24; T2TViT7, T2TViT10 and T2TViT12 take 0.03, and a
learning rate of 1e-3. The moving average is evaluated. The published schedule ends its cosine after 300 epochs and
keeps the lowest rate for ten more; here the cosine takes all 310.

Expected: top-1 71.7 % (T2TViT7), 75.2 % (T2TViT10), 76.5 % (T2TViT12), 81.5 % (T2TViT14), 81.9 % (T2TViT19), 82.3 %
(T2TViT24), 81.7 % (T2TViTT14), 82.4 % (T2TViTT19), 82.6 % (T2TViTT24), as published; not reproduced here.
"""

from keras_vit.training.recipes import deit

RECIPE = deit.RECIPE.replace(
    model="T2TViT14",
    epochs=310,
    batch_size=512,
    lr=5e-4,
    warmup_epochs=10,
    train_interpolation="random",
    model_ema_decay=0.99996,
    aug_repeats=1,
)
