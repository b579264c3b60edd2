"""Grad-CAM: in closed form on linear models, and in every family."""

import math

import keras
import numpy as np
import pytest

from keras_vit.analysis.grad_cam import explained_features, relevance
from tests.models.cases import one_per_paper, params
from tests.models.toys import TOYS


def toy(name, **arguments):
    variant, shape = TOYS[name]
    model = variant(weights=None, input_shape=shape, classes=5, **arguments)
    return model, np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")


def linear_model(kernel, activation="softmax", mask=None):
    """A map of the image's own pixels, its mean, and a linear classifier (C, K): class activation maps."""
    image = keras.Input((4, 6, kernel.shape[0]))
    block = keras.layers.Lambda(lambda x: x if mask is None else x * mask, output_shape=image.shape[1:], name="block0")
    x = keras.layers.GlobalAveragePooling2D()(block(image))
    head = keras.layers.Dense(kernel.shape[1], activation=activation, use_bias=False, name="head")
    model = keras.Model(image, head(x))
    head.set_weights([kernel])
    return model


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_linear_models_have_class_activation_maps(activation):
    """alpha_c is the classifier's weight of channel c, over the number of places: Sec. 3.1 generalises CAM."""
    rng = np.random.default_rng(0)
    kernel, images = rng.normal(size=(3, 5)).astype("float32"), rng.normal(size=(2, 4, 6, 3)).astype("float32")
    maps = np.maximum(images @ kernel[:, [1, 4]], 0)[[0, 1], :, :, [0, 1]]
    found = relevance(linear_model(kernel, activation), images, classes=[1, 4])
    np.testing.assert_allclose(found, maps / maps.max((1, 2), keepdims=True), atol=1e-5)


def test_without_classes_the_best_is_explained():
    model, images = toy("swin")
    best = np.asarray(model(images)).argmax(-1)
    np.testing.assert_array_equal(relevance(model, images), relevance(model, images, best))
    np.testing.assert_array_equal(relevance(model, images, 3), relevance(model, images, np.array([3, 3])))
    assert not np.array_equal(relevance(model, images, 3), relevance(model, images, 2))


def test_what_is_not_looked_at_is_not_relevant():
    mask = (np.arange(6) < 3).astype("float32")[None, :, None]  # the left half
    images = np.ones((1, 4, 6, 3), "float32")
    found = relevance(linear_model(np.ones((3, 2), "float32"), mask=mask), images, classes=0)
    np.testing.assert_allclose(found[0], np.broadcast_to(mask[..., 0], (4, 6)))


def test_what_speaks_against_the_class_is_not_relevant():
    images = np.ones((1, 4, 6, 3), "float32")
    assert not relevance(linear_model(-np.ones((3, 2), "float32")), images, classes=0).any()


GRIDS = {"swin": (6, 8), "convnext": (4, 5), "convnext_isotropic": (2, 3), "coat": (2, 3), "coat_lite": (2, 3)}


@pytest.mark.parametrize("name", params(one_per_paper(), TOYS))
def test_every_family(name):
    model, images = toy(name)
    model.trainable = False
    found = relevance(model, images)
    grid = GRIDS.get(name, (2, 3) if name.startswith("t2t") else (5, 6))
    assert found.shape == (2, *grid) and found.dtype == "float32"
    assert found.min() >= 0 and found.max() == 1 and found.std() > 0.05


@pytest.mark.parametrize("name", ["vit", "deit_distilled", "tnt", "pvt", "coat_lite"])
def test_token_models_explain_the_class_token_by_the_patches_before_the_last_block(name):
    model, _ = toy(name)
    features, last = explained_features(model)
    blocks = [layer for layer in model.layers if "block" in layer.name and layer.name[-1].isdigit()]
    inputs = blocks[-1].input
    assert any(features is x for x in (inputs if isinstance(inputs, list) else [inputs]))
    assert features.shape[1] in (math.prod(last.shape[1:3]) + 1, math.prod(last.shape[1:3]) + 2)


def test_half_precision_is_taken_as_it_comes():
    model, images = toy("vit", dtype="mixed_bfloat16")
    found = relevance(model, images, 1)
    assert found.dtype == "float32" and np.isfinite(found).all() and found.max() == 1


def test_arguments_that_do_not_fit_are_refused():
    model, images = toy("vit")
    for classes in (5, -1, [1, 2, 3], 0.5, "cat"):
        with pytest.raises(ValueError, match="classes: expected a number from 0 to 4"):
            relevance(model, images, classes)
    with pytest.raises(ValueError, match="relevance: expected a batch"):
        relevance(model, images[0])
    headless, images = toy("convnext", include_top=False)
    with pytest.raises(ValueError, match="with its classifier"):
        relevance(headless, images)
