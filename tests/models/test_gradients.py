"""Gradients of the published code on toy models, for every trainable entry (tests/golden/record_gradients.py).

Synthetic weights, loaded through the public API; two images; mean cross-entropy. As at inference, and as in training
with nothing dropped, where GELU and attention are computed a second time for their gradients.
"""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.models import coat, convnext, deit, dinov2, hybrid, pvt_v2, swin, t2t, t2t_backbones, tnt, vit
from keras_vit.models.family import Variant
from keras_vit.weights.rules import best_match
from tests.golden.compare import write_weights
from tests.golden.seeded import seeded_image

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "gradients"
ENCODER = vit.Config(24, 2, 3, 8)
TOYS = {
    "vit": (vit.VIT, ENCODER),
    "hybrid": (hybrid.HYBRID, hybrid.Config((1, 2), vit.Config(12, 1, 3, 1))),
    "deit_distilled": (deit.DEIT_DISTILLED, ENCODER),
    "deit3": (deit.DEIT3, ENCODER),
    "dinov2_registers": (dinov2.DINOV2_REGISTERS, dinov2.Config(24, 2, 3, 8, "swiglu", registers=3)),
    "swin": (swin.SWIN, swin.Config(12, (2, 2), (3, 6), 3)),
    "convnext": (convnext.CONVNEXT, convnext.Config((1, 1, 2, 1), (4, 8, 12, 16))),
    "tnt": (tnt.TNT, tnt.Config(24, 2, 3, 6, 2, 8)),
    "tnt_legacy": (tnt.TNT, tnt.Config(24, 2, 3, 6, 2, 8, legacy=True)),
    "coat": (coat.COAT, coat.Config((10, 15, 15, 15), (1, 1, 1, 1), (2, 3, 3, 3), 2, (1, 2, 2))),
    "coat_lite": (coat.COAT_LITE, coat.Config((10, 15, 15, 20), (1, 1, 1, 2), (2, 2, 1, 1), head_groups=(1, 2, 2))),
    "pvt_v2": (pvt_v2.PVT_V2, pvt_v2.Config((1, 2), (12, 18), (1, 3), (2, 3), (2, 1))),
    "pvt_v2_linear": (pvt_v2.PVT_V2, pvt_v2.Config((1, 2), (12, 18), (1, 3), (2, 3), None)),
    "t2t_performer": (t2t.T2T, t2t.Config(24, 2, 3, 2, token_dim=16, performer_drop_rate=0.0)),
    "t2t_transformer": (t2t.T2T, t2t.Config(24, 2, 3, 2, performer=False, token_dim=16)),
    "t2t_se": (t2t_backbones.T2T_SE, t2t.Config(32, 1, 2, 2, performer_drop_rate=0.0)),
    "t2t_ghost": (t2t_backbones.T2T_GHOST, t2t.Config(24, 1, 3, 3, performer_drop_rate=0.0)),
}


@pytest.fixture
def narrow_resnet(monkeypatch):
    """The hybrid's published ResNet starts with 64 channels, a megabyte of gradients; its recorded toy with 8."""
    monkeypatch.setattr(hybrid, "STEM", 8)
    monkeypatch.setattr(hybrid, "GROUPS", 4)


@pytest.mark.parametrize("name", TOYS)
def test_logits_and_gradients_equal_the_published_code(name, tmp_path, narrow_resnet):
    family, config = TOYS[name]
    record = np.load(FOLDER / f"{name}.npz")
    meta = json.loads(str(record["meta"]))
    write_weights(meta, tmp_path / "weights.safetensors")
    size = meta.get("image_size") or [meta["config"]["img_size"]] * 2
    arguments = {"input_shape": (*size, 3), "classes": record["logits"].shape[1], "classifier_activation": None}
    model = Variant("Toy", family, config)(weights=tmp_path / "weights.safetensors", **arguments)
    images = seeded_image(meta["input_seed"], *size, count=meta["batch"])
    theirs = published_gradients(record, meta, model, family)
    for training in (False, True):
        logits, loss, ours = differentiate(model, images, meta["labels"], training)
        np.testing.assert_allclose(logits, record["logits"], atol=1e-5 * record["logits"].std())
        assert loss == pytest.approx(meta["loss"], abs=1e-5)
        assert set(ours) == set(theirs)
        assert shortfalls(ours, theirs) == {}


def differentiate(model, images, labels, training):
    """Logits, loss, and the gradient of each trainable variable by its path."""
    with tf.GradientTape() as tape:
        logits = model(images, training=training)
        losses = keras.losses.sparse_categorical_crossentropy(np.array(labels), logits, from_logits=True)
        loss = keras.ops.mean(losses)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    return logits, float(loss), {v.path: g.numpy() for v, g in zip(model.trainable_variables, gradients)}


def published_gradients(record, meta, model, family):
    """Path of a variable -> recorded gradient, laid out by the rules that lay out the weights."""
    found = best_match(family.layouts, meta["keys"], [variable.path for variable in model.weights])
    assert not found.unexpected
    return {
        target: assignment.rule.transform(*(record[f"grad/{name}"] for name in assignment.names))
        for target, assignment in found.assignments.items()
        if not set(assignment.names) & set(meta["no_gradient"])
    }


def shortfalls(ours, theirs):
    """Path -> (difference, largest entry), where the difference is beyond 1e-3 of the tensor's and 1e-6 of all."""
    largest = max(np.abs(gradient).max() for gradient in theirs.values())
    scales = {path: np.abs(gradient).max() for path, gradient in theirs.items()}
    differences = {path: np.abs(ours[path] - theirs[path]).max() for path in theirs}
    return {
        path: (difference, scales[path])
        for path, difference in differences.items()
        if not difference <= max(1e-3 * scales[path], 1e-6 * largest)
    }


def test_every_record_is_compared():
    assert sorted(path.stem for path in FOLDER.glob("*.npz")) == sorted(TOYS)
