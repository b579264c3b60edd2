"""Feature pyramids of every toy: strides, names, and the model's own maps."""

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.models import convnext, vit
from tests.models.toys import TOYS


@pytest.mark.parametrize("name, patch", [("ViTS8", 8), ("ViTTi16", 16), ("ViTS32", 32)])
def test_plain_models_get_the_simple_pyramid(name, patch):
    variant = keras_vit.models.VARIANTS[name]
    toy = type(variant)("Toy", variant.family, vit.Config(24, 1, 3, patch))
    model = toy(weights=None, input_shape=(64, 96, 3), include_top=False)
    pyramid = keras_vit.feature_pyramid(model)
    shapes = {level: tuple(x.shape[1:]) for level, x in pyramid.pyramid_outputs.items()}
    assert shapes == {f"P{p}": (64 // 2**p, 96 // 2**p, 256) for p in range(2, 6)}
    maps = pyramid(np.ones((1, 64, 96, 3), "float32"))
    assert all(np.isfinite(keras.ops.convert_to_numpy(x)).all() for x in maps.values())


def test_stages_are_the_model_own_maps():
    model = convnext.ConvNeXtAtto(weights=None, input_shape=(64, 64, 3))
    image = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype("float32")
    maps = keras_vit.feature_pyramid(model)(image)
    head = keras.Model(model.get_layer("stage3_block1").output, model.output)
    assert list(maps) == ["P2", "P3", "P4", "P5"]
    np.testing.assert_allclose(head(maps["P5"]), model(image), atol=1e-6)


def test_works_on_a_reloaded_model(tmp_path):
    variant, shape = TOYS["swin"]
    variant(weights=None, input_shape=shape).save(tmp_path / "swin.keras")
    pyramid = keras_vit.feature_pyramid(keras.saving.load_model(tmp_path / "swin.keras"))
    assert list(pyramid.pyramid_outputs) == ["P2", "P3"]


@pytest.mark.parametrize("toy", ["swin", "coat", "vit"])
def test_a_pyramid_keeps_its_levels_in_a_file(toy, tmp_path):
    variant, shape = TOYS[toy]
    pyramid = keras_vit.feature_pyramid(variant(weights=None, input_shape=shape, include_top=False))
    pyramid.save(tmp_path / "pyramid.keras")
    loaded = keras.saving.load_model(tmp_path / "pyramid.keras")
    shapes = [{level: x.shape for level, x in model.pyramid_outputs.items()} for model in (pyramid, loaded)]
    assert shapes[0] == shapes[1] and list(shapes[0]) == [f"P{p}" for p in range(2, 2 + len(shapes[0]))]
    image = np.ones((1, *shape), "float32")
    for level, expected in pyramid(image).items():
        assert expected.shape[1:] == shapes[0][level][1:]
        np.testing.assert_array_equal(loaded(image)[level], expected)


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected a model of keras_vit.models"):
        keras_vit.feature_pyramid(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]))
    toy = type(vit.ViTH14)("Toy", vit.VIT, vit.Config(16, 1, 2, 14))
    with pytest.raises(ValueError, match="power of two.*stride of 14"):
        keras_vit.feature_pyramid(toy(weights=None, input_shape=(56, 56, 3)))
