import dataclasses

import numpy as np
import pytest

from keras_vit.export.model.backbone import open_backbone
from keras_vit.export.parity.features import expect_features
from keras_vit.export.parity.outputs import cosines
from keras_vit.prediction.embedding import Embedder
from tests.export import toys


@pytest.fixture(scope="module")
def backbone(toy_run):
    return open_backbone(toy_run)


def test_expected_features_are_those_that_embed_gives(backbone, toy_run):
    expected = expect_features(backbone)
    assert expected.kind == "test" and len(expected.files) == 12
    np.testing.assert_allclose(expected.features["embedding"], Embedder.open(toy_run).embed(expected.files), atol=1e-5)


def test_large_features_are_held_of_fewer_images(backbone, monkeypatch):
    monkeypatch.setattr("keras_vit.export.parity.features.MOST_NUMBERS", 3 * 64)
    assert expect_features(backbone).features["embedding"].shape == (3, 64)


def test_a_float32_copy_that_gives_other_features_is_refused(backbone):
    other = toys.toy_model()
    other.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in other.weights])
    named = type(other)(other.inputs[0], {"embedding": other.get_layer("norm").output})
    with pytest.raises(ValueError, match="its copy in float32.*cosine of its embedding"):
        expect_features(dataclasses.replace(backbone, loaded=named))


def test_features_that_are_not_finite_are_refused(backbone):
    model = backbone.model
    broken = type(model)(model.inputs[0], {"embedding": model.outputs[0] / 0.0})
    with pytest.raises(ValueError, match="embedding is not finite"):
        expect_features(dataclasses.replace(backbone, model=broken, loaded=broken))


def test_cosines_take_a_map_as_one_vector():
    maps = np.array([[[3.0, 0.0], [0.0, 4.0]], [[1.0, 0.0], [0.0, 0.0]]])
    other = np.array([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 1.0], [0.0, 0.0]]])
    np.testing.assert_allclose(cosines(maps, other), [1.0, 0.0])
    assert np.isnan(cosines(np.full((1, 2), np.nan), np.ones((1, 2)))).all()
