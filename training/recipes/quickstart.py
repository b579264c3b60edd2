"""A small Swin, from scratch, on the embedded handwritten digits: minutes on a laptop.

    keras-vit train --recipe quickstart --output runs/digits

Time: to be measured.
Accuracy: not measured.
"""

from keras_vit.models import swin
from keras_vit.models.family import Variant
from keras_vit.training.recipe import Recipe

CONFIG = swin.Config(
    embed_dim=64, depths=(2, 4), num_heads=(2, 4), window_size=4, patch_size=4
)
SwinDigits = Variant("SwinDigits", swin.SWIN, CONFIG, parameters=0)

RECIPE = Recipe(
    model="SwinDigits",
    variant=SwinDigits,
    image_size=(32, 32),
    epochs=60,
    batch_size=64,
    learning_rate=2e-3,
    warmup_epochs=5,
    weight_decay=0.05,
    label_smoothing=0.1,
    drop_path_rate=0.1,
    shift=0.08,
    rotate=12,
    zoom=0.12,
    shear=8,
    fill="black",
)
