"""TNT from scratch on ImageNet -- Han et al., arXiv:2103.00112, Table 2: DeiT's strategy.

    keras-vit train --recipe tnt --dataset records --data-dir imagenet --output runs/tnt_s

Expected: top-1 81.5 % (TNTS), 82.9 % (TNTB), as published; not reproduced here.
"""

from keras_vit.training.recipes import deit

RECIPE = deit.RECIPE.replace(model="TNTS")
