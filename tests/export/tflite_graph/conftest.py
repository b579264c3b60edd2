"""A small ViT as a float .tflite file; some of its channels are far larger than others, as in trained models."""

import numpy as np
import pytest

from keras_vit.models import vit
from keras_vit.models.family import Variant
from tests.export.tflite_graph.files import convert

SIDE, WIDTH, HEADS, DEPTH = 32, 32, 2, 2
SMALL = Variant("ViTRewritten", vit.VIT, vit.Config(WIDTH, DEPTH, HEADS, patch_size=8, mlp_ratio=2))


@pytest.fixture(scope="session")
def vit_file():
    """The file's bytes."""
    model = SMALL(weights=None, input_shape=(SIDE, SIDE, 3), classes=5)
    draw = np.random.default_rng(0)
    for weight in model.weights:
        large = 1 + 9 * (draw.random(weight.shape[-1]) < 0.1)
        scale = 0.5 if weight.path.endswith("kernel") else 0.2
        weight.assign(np.asarray(weight) + scale * large * draw.normal(size=weight.shape) / np.sqrt(WIDTH))
    mean, std = (np.array(one, "float32") for one in ((127.5, 102, 76.5), (63.75, 51, 76.5)))
    return convert(lambda image: model((image - mean) / std, training=False), (1, SIDE, SIDE, 3))


@pytest.fixture(scope="session")
def images():
    """uint8 (8, H, W, 3): noise around a colour."""
    draw = np.random.default_rng(1)
    colours = draw.integers(0, 256, (8, 1, 1, 3))
    return np.clip(colours + draw.normal(0, 40, (8, SIDE, SIDE, 3)), 0, 255).astype("uint8")
