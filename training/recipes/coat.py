"""CoaT and CoaT-Lite from scratch on ImageNet -- Xu et al., arXiv:2104.06399, Sec. 5.1, by DeiT's strategy.

    keras-vit train --recipe coat --dataset records --data-dir imagenet --output runs/coat_lite_mini
    keras-vit train --recipe coat --model CoaTMini ...

Learning rate: 5e-4 x batch / 512, the rule of DeiT's code, which the published code builds on; without its stochastic
depth. CoaTSmall (82.1 %) and CoaTLiteMedium (83.6 %) were trained with other settings, which were not published.

Expected: top-1 77.5 % (CoaTLiteTiny), 79.1 % (CoaTLiteMini), 81.9 % (CoaTLiteSmall), 78.3 % (CoaTTiny), 81.0 %
(CoaTMini), as published; not reproduced here.
"""

from keras_vit.training.recipes import deit

RECIPE = deit.RECIPE.replace(model="CoaTLiteMini", batch_size=2048, lr=2e-3, drop_path=0.0)
