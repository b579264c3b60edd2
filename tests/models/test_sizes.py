"""A model at another size gives what a model of its weights that is built for that size gives."""

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.models import swin
from keras_vit.models.family import Variant
from keras_vit.models.sizes import sides_of, view
from tests.models.cases import one_per_family, one_per_paper, params
from tests.models.toys import TOYS

QUICK = ("vit", "swin")


@pytest.fixture
def toy(request):
    """The variant of a toy, its size, and a model of it with random weights."""
    variant, shape = TOYS[request.param]
    model = variant(weights=None, input_shape=shape, classifier_activation=None, include_preprocessing=True)
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.2, w.shape).astype("float32") for w in model.weights])
    return variant, shape, model


every_family = pytest.mark.parametrize("toy", params(QUICK, one_per_family()), indirect=True)


@every_family
def test_outputs_are_those_of_a_model_built_for_the_size(toy, tmp_path):
    variant, _, model = toy
    size = variant.family.sides(variant.config).rounded((96, 130))
    model.save(tmp_path / "model.keras")
    options = {"classifier_activation": None, "include_preprocessing": True}
    built = variant(weights=str(tmp_path / "model.keras"), input_shape=(*size, 3), **options)
    images = np.random.default_rng(1).uniform(0, 255, (2, *size, 3)).astype("float32")
    expected = np.asarray(built(images))
    sized = keras_vit.at_image_size(model, size)
    sized.save(tmp_path / "sized.keras")
    loaded = keras.saving.load_model(tmp_path / "sized.keras")
    free = keras_vit.at_image_size(model, (None, None))
    for found in (sized, loaded, free, keras_vit.at_image_size(free, size), view(model, size)):
        np.testing.assert_allclose(np.asarray(found(images)), expected, atol=1e-5 * expected.std())


def test_windows_that_cover_a_map_grow_and_shift_on_a_larger_one(tmp_path):
    """Maps of 8, 4 and 2 patches a side for windows of 4: larger, as large, smaller."""
    variant = Variant("Own", swin.SWIN, swin.Config(6, (2, 2, 2), (1, 2, 3), window_size=4, patch_size=2))
    model = variant(weights=None, input_shape=(16, 16, 3), classifier_activation=None)
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.2, w.shape).astype("float32") for w in model.weights])
    model.save(tmp_path / "model.keras")
    images = random.normal(size=(2, 40, 48, 3)).astype("float32")
    file = str(tmp_path / "model.keras")
    expected = np.asarray(variant(weights=file, input_shape=(40, 48, 3), classifier_activation=None)(images))
    for found in (model, keras.saving.load_model(tmp_path / "model.keras")):
        for sized in (keras_vit.at_image_size(found, (40, 48)), keras_vit.at_image_size(found, (None, None))):
            np.testing.assert_allclose(np.asarray(sized(images)), expected, atol=1e-5 * expected.std())
    for block in ("stage1_block1", "stage2_block1"):
        model.get_layer(block).largest = None  # as in files of the version before
        with pytest.raises(ValueError, match="earlier version.*stage"):
            keras_vit.at_image_size(model, (40, 48))


@pytest.mark.parametrize("toy", ["vit"], indirect=True)
def test_a_sized_model_has_weights_of_its_own_and_a_view_has_the_models(toy):
    _, _, model = toy
    sized, shared = keras_vit.at_image_size(model, (64, 64)), view(model, (64, 64))
    assert {id(w) for w in shared.weights} == {id(w) for w in model.weights}
    assert not {id(w) for w in sized.weights} & {id(w) for w in model.weights}
    assert sized.get_layer("block1").output.shape == (None, 65, 24)


@pytest.mark.parametrize("toy", ["vit"], indirect=True)
@pytest.mark.parametrize("size", [(60, 64), (64, 0), (None, 64), (64,), 0, 60])
def test_sizes_that_a_model_cannot_have_are_refused_with_the_smallest(toy, size):
    with pytest.raises(ValueError, match="multiples of 8, the smallest 8 x 8|expected .height, width.*at least 8 x 8"):
        keras_vit.at_image_size(toy[2], size)


def test_a_model_of_another_library_is_refused():
    x = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="at_image_size: expected a model of"):
        keras_vit.at_image_size(keras.Model(x, keras.layers.Flatten()(x)), (16, 16))


@pytest.mark.parametrize("name", params(one_per_paper(), TOYS))
def test_sides_read_from_layers_are_those_of_the_family(name):
    variant, shape = TOYS[name]
    told, read = variant.family.sides(variant.config), sides_of(variant(weights=None, input_shape=shape))
    assert (read.multiple, read.smallest) == (told.multiple, told.smallest)
