"""DeiT: a ViT from scratch on ImageNet alone -- Touvron et al., arXiv:2012.12877, Table 9.

    keras-vit train --recipe deit --dataset records --data-dir imagenet --output runs/deit_s
    keras-vit train --recipe deit --model DeiTTi ...

Learning rate: 5e-4 x batch / 512. The published code also keeps a moving average of the weights, and reports the
weights themselves. Here MixUp and CutMix draw lambda per pair of images instead of per batch, and pixels are scaled
to [-1, 1] instead of to the mean and deviation of ImageNet.

Expected: top-1 72.2 % (DeiTTi), 79.9 % (DeiTS), 81.8 % (DeiTB), as published; not reproduced here.
"""

from keras_vit.training.recipe import Recipe

RECIPE = Recipe(
    model="DeiTS",
    dataset="records",
    img_size=(224, 224),
    epochs=300,
    batch_size=1024,
    opt="adamw",
    lr=1e-3,
    min_lr=1e-5,
    warmup_epochs=5,
    weight_decay=0.05,
    clip_grad=None,
    smoothing=0.1,
    drop_path=0.1,
    scale=(0.08, 1.0),
    train_interpolation="bicubic",
    hflip=0.5,
    aa="rand-m9-mstd0.5-inc1",
    reprob=0.25,
    mixup=0.8,
    cutmix=1.0,
    aug_repeats=3,
    precision="bfloat16",
)
