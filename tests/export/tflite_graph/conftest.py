"""A small ViT as a float .tflite file; some of its channels are far larger than others, as in trained models."""

import dataclasses

import numpy as np
import pytest

from keras_vit.export.edge import tflite
from keras_vit.models import vit
from keras_vit.models.family import Variant
from keras_vit.preprocessing import Spec

SIDE, WIDTH, HEADS, DEPTH = 32, 32, 2, 2
SMALL = Variant("ViTRewritten", vit.VIT, vit.Config(WIDTH, DEPTH, HEADS, patch_size=8, mlp_ratio=2))


@pytest.fixture(scope="session")
def vit_file(tmp_path_factory, toy_source):
    """The file's bytes."""
    model = SMALL(weights=None, input_shape=(SIDE, SIDE, 3), classes=5)
    draw = np.random.default_rng(0)
    for weight in model.weights:
        large = 1 + 9 * (draw.random(weight.shape[-1]) < 0.1)
        scale = 0.5 if weight.path.endswith("kernel") else 0.2
        weight.assign(np.asarray(weight) + scale * large * draw.normal(size=weight.shape) / np.sqrt(WIDTH))
    spec = Spec((SIDE, SIDE), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    labels = tuple("abcde")
    source = dataclasses.replace(toy_source, model=model, spec=spec, labels=labels, name="rewritten")
    folder = tmp_path_factory.mktemp("rewritten")
    tflite.run_converter(source, folder / "float.tflite", folder / "static")
    return (folder / "float.tflite").read_bytes()


@pytest.fixture(scope="session")
def images():
    """uint8 (8, H, W, 3): noise around a colour."""
    draw = np.random.default_rng(1)
    colours = draw.integers(0, 256, (8, 1, 1, 3))
    return np.clip(colours + draw.normal(0, 40, (8, SIDE, SIDE, 3)), 0, 255).astype("uint8")
