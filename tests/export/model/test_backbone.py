import keras
import numpy as np
import pytest

from keras_vit.export.model.backbone import Features, open_backbone
from keras_vit.models import swin, vit
from keras_vit.models.family import Variant
from keras_vit.preprocessing import Spec

SIDE = 32
VIT = Variant("TinyViT", vit.VIT, vit.Config(12, 3, 2, 8))
SWIN = Variant("TinySwin", swin.SWIN, swin.Config(12, (1, 1, 1), (1, 2, 2), 2))


@pytest.fixture
def saved(tmp_path):
    """A function that saves a model beside its preprocessing."""
    Spec((SIDE, SIDE), (0.5,) * 3, (0.25,) * 3, input_values="normalized").save(tmp_path / "preprocessing.json")

    def save(model):
        model.save(tmp_path / "model.keras")
        return tmp_path / "model.keras"

    return save


def build(variant, **options):
    return variant(weights=None, input_shape=(SIDE, SIDE, 3), **options)


def shapes(source):
    return {name: tuple(source.model.output[name].shape[1:]) for name in source.features}


@pytest.mark.parametrize(
    "features, expected",
    [
        (Features(), {"embedding": (12,)}),
        (Features(maps=True), {"map": (4, 4, 12)}),
        (Features(blocks=(0, -1)), {"block0_map": (4, 4, 12), "block2_map": (4, 4, 12)}),
    ],
)
def test_features_of_a_classifier_by_name(saved, features, expected):
    source = open_backbone(saved(build(VIT, classes=5)), features)
    assert shapes(source) == expected and source.labels == ()
    assert tuple(source.features) == tuple(sorted(expected))


def test_the_stages_of_a_hierarchy_are_levels(saved):
    source = open_backbone(saved(build(SWIN, classes=5)), Features(maps=True))
    assert shapes(source) == {"P2": (8, 8, 12), "P3": (4, 4, 24), "P4": (2, 2, 48)}


@pytest.mark.parametrize("pooling, expected", [(None, {"map": (4, 4, 12)}), ("max", {"embedding": (12,)})])
def test_a_backbone_gives_its_own_outputs(saved, pooling, expected):
    model = build(VIT, include_top=False, pooling=pooling)
    source = open_backbone(saved(model))
    assert shapes(source) == expected
    images = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 3)).astype("float32")
    ((name, given),) = source.model(images).items()
    np.testing.assert_allclose(given, model(images), atol=1e-6)


def test_several_outputs_keep_their_names(saved):
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(4, 8, 8, name="stem")(image)
    outputs = {"fine": x, "coarse": keras.layers.AveragePooling2D(2)(x)}
    source = open_backbone(saved(keras.Model(image, outputs)))
    assert shapes(source) == {"coarse": (2, 2, 4), "fine": (4, 4, 4)}


def test_maps_of_a_strange_model_are_refused(saved):
    image = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 8, 8)(image)))
    with pytest.raises(ValueError, match="no maps of stages"):
        open_backbone(saved(model), Features(maps=True))


def test_preprocessing_of_another_size_is_named(saved, tmp_path):
    path = saved(build(VIT, include_top=False))
    with pytest.raises(ValueError, match=r"must have the same size. Received: \(518, 518\) pixels"):
        open_backbone(path, preprocessing="DINOv2S")


def test_preprocessing_is_needed(saved, tmp_path):
    path = saved(build(VIT, include_top=False))
    (tmp_path / "preprocessing.json").unlink()
    with pytest.raises(ValueError, match="--preprocessing"):
        open_backbone(path)


def test_a_model_in_half_precision_has_a_float32_copy(saved):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        path = saved(build(VIT, classes=5))
    finally:
        keras.config.set_dtype_policy("float32")
    source = open_backbone(path)
    assert source.loaded is not source.model
    images = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 3)).astype("float32")
    exact, half = (model(images)["embedding"] for model in (source.model, source.loaded))
    assert source.model.outputs[0].dtype == "float32"
    np.testing.assert_allclose(exact, keras.ops.cast(half, "float32"), atol=0.1)
