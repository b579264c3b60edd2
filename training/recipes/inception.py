"""ViT from scratch with the Inception crop and nothing more -- Dosovitskiy et al., arXiv:2010.11929, App. B.1, Table 3.

    keras-vit train --recipe inception --dataset records --data-dir imagenet --output runs/vit_b16

Crop (arXiv:1409.4842, Sec. 6) and flip are the only augmentation; weight decay and dropout are strong
instead. The paper's warm-up of 10,000 steps is 32 epochs of 312 steps. Its dropout follows every dense layer; here
it precedes the classifier.

Expected: top-1 77.9 % (ViTB16) and 73.4 % (ViTB32) after fine-tuning at 384 pixels (Table 5), as published;
not reproduced here.
"""

from keras_vit.training.recipe import Recipe

RECIPE = Recipe(
    model="ViTB16",
    dataset="records",
    img_size=(224, 224),
    epochs=300,
    batch_size=4096,
    opt="adamw",
    lr=3e-3,
    min_lr=0.0,
    warmup_epochs=32,
    weight_decay=0.3,
    clip_grad=1.0,
    smoothing=0.0,
    drop=0.1,
    scale=(0.08, 1.0),
    train_interpolation="bilinear",
    hflip=0.5,
    precision="bfloat16",
)
