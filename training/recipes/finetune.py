"""Fine-tune published weights on a folder of class folders; the default recipe if `--data-dir` is given.

    keras-vit train --data-dir photos --output runs/photos
    keras-vit train --data-dir photos --output runs/photos --model ConvNeXtT --epochs 20

The learning rate is that of Swin's fine-tuning (arXiv:2103.14030, Appendix A2.1), scaled to the smaller batch and
raised for the new head. `--weights None` trains from scratch, which needs --lr 1e-3 and more epochs.

Time and accuracy: depend on the images; not measured.
"""

from keras_vit.training.recipe import Recipe

RECIPE = Recipe(
    model="SwinT",
    dataset="folder",
    weights="imagenet",
    epochs=10,
    batch_size=32,
    lr=1e-4,
    warmup_epochs=1,
    weight_decay=0.05,
    smoothing=0.1,
    drop_path=0.1,
    shift=0.1,
    rotate=10,
    zoom=0.2,
    hflip=0.5,
)
