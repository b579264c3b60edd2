"""Fine-tune at a higher resolution, as Swin-B goes from 224 to 384 pixels -- Liu et al., arXiv:2103.14030, App. A2.1.

    keras-vit train --recipe finetune_large --weights runs/swin_b/model.keras --dataset records --data-dir imagenet \
        --output runs/swin_b_384

Thirty epochs at a constant learning rate; the augmentation is that of the first training, with less stochastic depth.
The bias tables of windows of 7 are resampled to windows of 12. The paper gives a batch of 1,024 for the models from
ImageNet-22k, and none for these.

Expected: top-1 84.5 % (SwinB384 from SwinB, ImageNet alone), as published; not reproduced here.
"""

from keras_vit.training.recipes import swin

RECIPE = swin.RECIPE.replace(
    model="SwinB384",
    weights="imagenet",
    img_size=(384, 384),
    epochs=30,
    lr=1e-5,
    min_lr=1e-5,
    warmup_epochs=0,
    weight_decay=1e-8,
    drop_path=0.1,
)
