"""A small Swin, from scratch, on the embedded handwritten digits: minutes on a laptop.

    keras-vit train --recipe quickstart --output runs/digits

Time: to be measured.
Accuracy: not measured.
"""

from keras_vit.models import swin
from keras_vit.models.family import Variant
from keras_vit.training.recipe import Recipe

# A patch is a pixel of the scan. Swin knows places only by windows and merging; with two mergings it learns the
# digits in a fifth of the steps that it takes with one.
CONFIG = swin.Config(embed_dim=64, depths=(2, 2, 2), num_heads=(2, 4, 8), window_size=4, patch_size=4)
SwinDigits = Variant("SwinDigits", swin.SWIN, CONFIG, parameters=2_248_486)

RECIPE = Recipe(
    model="SwinDigits",
    variant=SwinDigits,
    image_size=(32, 32),
    epochs=20,
    batch_size=32,
    learning_rate=1e-3,
    warmup_epochs=2,
    weight_decay=0.05,
    beta_2=0.99,
    label_smoothing=0.1,
    shift=0.06,
    rotate=8,
    zoom=0.08,
    fill="black",
    xla=False,  # on CPUs: compiling takes 20 s, a step is then no faster (measured with TensorFlow 2.21)
)
