"""Fine-tune with layer-wise learning-rate decay -- ConvNeXt, arXiv:2201.03545, App. A.2, Table 6.

    keras-vit train --recipe finetune_layer_decay --dataset records --data-dir imagenet --output runs/convnext_b
    keras-vit train --recipe finetune_layer_decay --data-dir photos --batch-size 64 --output runs/photos

drop_path is 0.0 for ConvNeXtT, 0.1 for S, 0.2 for B, 0.3 for L, and 0.4 for XL, the only one with a moving average
(0.9999). The published decay of 0.8 is per three blocks; here it is per block, the cube root. The published head is
initialised a thousand times smaller.

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
    layer_decay=0.8 ** (1 / 3),
    drop_path=0.2,
    mixup=0.0,
    cutmix=0.0,
    model_ema_decay=None,
)
