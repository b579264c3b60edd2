"""Fine-tune on tens to hundreds of images per class, where forgetting and overfitting are the main risks.

    keras-vit train --recipe finetune_small_data --data-dir photos --output runs/photos

Lower layers learn more slowly (layer_decay); images are augmented by crop, RandAugment and erasing, not mixed; a
moving average of the weights is evaluated and saved.

Time and accuracy: depend on the images; not measured. Expected top-1: no published figure; not reproduced here.
"""

from keras_vit.training.recipe import Recipe

RECIPE = Recipe(
    model="SwinT",
    dataset="folder",
    weights="imagenet",
    epochs=30,
    batch_size=32,
    lr=3e-4,
    warmup_epochs=3,
    weight_decay=0.05,
    layer_decay=0.75,
    model_ema_decay=0.999,
    smoothing=0.1,
    drop_path=0.1,
    scale=(0.35, 1.0),
    hflip=0.5,
    aa="rand-m7-n2-mstd0.5-inc1",
    reprob=0.1,
)
