"""Features are the outputs of include_top=False with the classifier's pooling, for every family."""

import keras
import numpy as np
import pytest

from keras_vit.export.model.features import features, head_inputs
from keras_vit.export.model.source import ExportedModel
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
    pooling = "avg" if name in MAPS else "token"
    bare = variant(weights=None, input_shape=shape, include_top=False, pooling=pooling)
    stored = {weight.path: weight for weight in model.weights}
    for weight in bare.weights:
        weight.assign(stored[weight.path])
    images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")
    source = source_of(model, shape)
    given, reference = features(source)(images), bare(normalize(images, source.spec))
    assert given.shape == reference.shape and np.std(reference) > 0
    np.testing.assert_allclose(given, reference, atol=1e-5)


def test_pre_logits_belong_to_the_head():
    image = keras.Input((4, 4, 3))
    token = keras.layers.GlobalAveragePooling2D(name="token")(image)
    hidden = keras.layers.Dense(7, activation="tanh", name="pre_logits")(token)
    (found,) = head_inputs(keras.Model(image, keras.layers.Dense(2)(keras.layers.Dropout(0.1)(hidden))))
    assert found.shape == (None, 7)  # after a dropout it is not the head's
    (found,) = head_inputs(keras.Model(image, keras.layers.Softmax()(keras.layers.Dense(2)(hidden))))
    assert found.shape == (None, 3)


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
