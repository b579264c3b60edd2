"""TNT from scratch on ImageNet -- Han et al., arXiv:2103.00112, Sec. 3.1 and Table 3.

    keras-vit train --recipe tnt --dataset records --data-dir imagenet --output runs/tnt_s

DeiT's strategy. Settings that the table omits are those of the published command, which averages the weights.

Expected: top-1 81.5 % (TNTS), 82.9 % (TNTB), as published; not reproduced here.
"""

from keras_vit.training.recipes import deit

RECIPE = deit.RECIPE.replace(model="TNTS", train_interpolation="random", model_ema_decay=0.99996)
