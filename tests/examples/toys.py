"""Toy models and settings with which a training takes a second or two: images of 16 pixels."""

from keras_vit.models import swin, vit
from keras_vit.models.family import Variant

SETTINGS = {"img_size": (16, 16), "epochs": 1, "batch_size": 32, "warmup_epochs": 0}
VIT = Variant("ToyViT", vit.VIT, vit.Config(12, 1, 2, 8, mlp_ratio=1))
SWIN = Variant("ToySwin", swin.SWIN, swin.Config(12, (1,), (2,), 2, 4, mlp_ratio=1))
