"""Train a new classifier on frozen features: the quickest test of how well weights suit a data set.

    keras-vit train --recipe linear_probe --data-dir photos --output runs/probe

Crop and flip only, no weight decay, no label smoothing, as in He et al., arXiv:2111.06377, App. A.1, Table 10, but with
SGD in place of LARS, which only its batches of 16,384 need.

Time and accuracy: depend on the images; not measured. Expected top-1: no published figure; not reproduced here.
"""

from keras_vit.training.recipe import Recipe

RECIPE = Recipe(
    model="ViTB16",
    dataset="folder",
    weights="imagenet",
    epochs=20,
    batch_size=64,
    opt="sgd",
    lr=0.1,
    min_lr=0.0,
    warmup_epochs=1,
    weight_decay=0.0,
    clip_grad=None,
    smoothing=0.0,
    linear_probe=True,
    scale=(0.35, 1.0),
    hflip=0.5,
)
