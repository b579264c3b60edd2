"""Features are the outputs of include_top=False with the classifier's pooling, for every family."""

import keras
import numpy as np
import pytest

from keras_vit.export.model.features import features
from keras_vit.export.model.source import ExportedModel
from keras_vit.prediction.features import head_inputs
from keras_vit.preprocessing import Spec, normalize
from tests.export import toys
from tests.models.toys import TOYS

MAPS = ("swin", "convnext", "convnext_isotropic", "pvt_v2", "pvt_v2_linear")  # families without a class token


def source_of(model, shape):
    spec = Spec(shape[:2], (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    return ExportedModel(model, spec, tuple("01234"), "toy")


@pytest.mark.parametrize("name", TOYS)
def test_features_are_the_model_without_its_top(name):
    variant, shape = TOYS[name]
    model = variant(weights=None, input_shape=shape, classes=5)
    images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")
    source = source_of(model, shape)
    poolings = ["avg" if name in MAPS else "token"]
    if getattr(variant.config, "pool", None) == "token_and_mean":  # DINOv2's classifier reads both
        poolings.append("avg")
    reference = np.concatenate([without_top(name, model, p)(normalize(images, source.spec)) for p in poolings], -1)
    given = features(source)(images)
    assert given.shape == reference.shape and np.std(reference) > 0
    np.testing.assert_allclose(given, reference, atol=1e-5)


def without_top(name, model, pooling):
    """The same model with include_top=False."""
    variant, shape = TOYS[name]
    bare = variant(weights=None, input_shape=shape, include_top=False, pooling=pooling)
    stored = {weight.path: weight for weight in model.weights}
    for weight in bare.weights:
        weight.assign(stored[weight.path])
    return bare


def test_a_model_that_normalises_by_itself_gets_pixels():
    variant, shape = TOYS["convnext"]
    model = variant(weights=None, input_shape=shape, classes=5, include_preprocessing=True)
    images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")
    inside = keras.Model(model.input, head_inputs(model)[0])
    np.testing.assert_allclose(features(source_of(model, shape))(images), inside(images), atol=1e-6)


def test_a_classifier_that_is_not_a_dense_layer_has_no_features():
    image = keras.Input((*toys.SIZE, 3))
    x = keras.layers.Conv2D(6, 3)(image)
    assert features(source_of(keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)), toys.SIZE)) is None
    whole = toys.toy_model()
    assert features(source_of(keras.Model(image, whole(image)), toys.SIZE)) is None
