"""Features are the outputs of include_top=False with the classifier's pooling, for every family."""

import keras
import numpy as np
import pytest

from keras_vit.analysis.pyramid import feature_pyramid
from keras_vit.export.model.features import features, maps, signatures_of_images, takes_any_size
from keras_vit.export.model.source import ExportedModel
from keras_vit.prediction.features import head_inputs
from keras_vit.preprocessing import Spec, normalize
from tests.export import toys
from tests.models.cases import one_per_paper, params
from tests.models.toys import TOYS

MAPS = ("swin", "convnext", "convnext_isotropic", "pvt_v2", "pvt_v2_linear")  # families without a class token


def source_of(model, shape):
    spec = Spec(shape[:2], (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    return ExportedModel(model, spec, tuple("01234"), "toy")


@pytest.mark.parametrize("name", params(one_per_paper()))
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


def test_maps_are_those_of_the_pyramid_or_of_the_last_block():
    for name in ("convnext", "vit"):
        variant, (H, W, C) = TOYS[name]
        model = variant(weights=None, input_shape=(H, W, C), classes=5)
        images = np.random.default_rng(0).uniform(0, 255, (2, H, W, C)).astype("float32")
        source = source_of(model, (H, W, C))
        given, x = maps(source)(images), normalize(images, source.spec)
        if name == "convnext":
            expected = feature_pyramid(model)(x)
            assert set(given) == set(expected) == {"P2", "P3"}
        else:
            bare = variant(weights=None, input_shape=(H, W, C), include_top=False)
            stored = {weight.path: weight for weight in model.weights}
            for weight in bare.weights:
                weight.assign(stored[weight.path])
            tokens = keras.Model(bare.input, bare.get_layer("block1").output)(x)
            expected = {"map": keras.ops.reshape(tokens[:, 1:], (2, 5, 6, 24))}
        for level, found in given.items():
            np.testing.assert_allclose(found, expected[level], atol=1e-5)


def test_models_of_others_have_no_maps():
    assert maps(source_of(toys.toy_model(5), (*toys.SIZE, 3))) is None


def test_signatures_of_images_take_any_size():
    variant, (H, W, C) = TOYS["convnext"]
    model = variant(weights=None, input_shape=(None, None, C), classes=5)
    source = source_of(model, (H, W, C))
    assert takes_any_size(source) and not takes_any_size(source_of(toys.toy_model(5), (*toys.SIZE, 3)))
    functions = signatures_of_images(source)
    assert set(functions) == {"features_of_images", "maps_of_images"}
    for size in ((H, W), (2 * H, 3 * W)):
        images = np.random.default_rng(0).uniform(0, 255, (2, *size, C)).astype("float32")
        embedding = functions["features_of_images"](images)["embedding"]
        np.testing.assert_allclose(embedding, features(source)(images), atol=1e-6)
        given = functions["maps_of_images"](images)
        assert {name: tuple(x.shape[1:3]) for name, x in given.items()} == {
            "P2": (size[0] // 4, size[1] // 4),
            "P3": (size[0] // 8, size[1] // 8),
        }
