"""Fine-tune with learning rates that fall towards the stem -- ConvNeXt, arXiv:2201.03545, App. A.1, Table 6.

    keras-vit train --recipe finetune_layer_decay --dataset records --data-dir imagenet --output runs/convnext_b
    keras-vit train --recipe finetune_layer_decay --data-dir photos --batch-size 64 --output runs/photos

layer_decay counts every block as a level here; the published code counts groups of three blocks, twelve levels in all.
Its head starts a thousandth as large.

Expected: top-1 85.8 % (ConvNeXtB from ImageNet-22k, 224 pixels), as published; not reproduced here.
"""

from keras_vit.training.recipes import convnext

RECIPE = convnext.RECIPE.replace(
    model="ConvNeXtB",
    weights="fb_in22k",
    epochs=30,
    batch_size=512,
    lr=5e-5,
    warmup_epochs=0,
    weight_decay=1e-8,
    layer_decay=0.8,
    drop_path=0.2,
    mixup=0.0,
    cutmix=0.0,
)
