"""The checks that keras.applications' own tests make of each of its models, of every published name and of the toys.

Models without weights: what those tests ask beside these, a photo's class, tests/models/test_published.py cannot.
Sides of 123 and of 100 are no multiples of most patches: there `dynamic_img_pad=True` is part of the check, and without
it an error has to name it.
"""

import keras
import pytest

from keras_vit.models import VARIANTS
from tests.models.toys import TOYS

QUICK = ("vit", "swin", "pvt")
NAMES = [*(name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TOYS)]
NAMES += [pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
EVERY = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def build(name):
    """Builds the model of a name, without numbers in its variables: the largest would take 4.5 GB."""
    variant, shape = TOYS[name] if name in TOYS else (VARIANTS[name], None)

    def build(**arguments):
        if shape and "input_tensor" not in arguments:  # toys have no size of their own
            arguments = {"input_shape": shape, **arguments}
        if shape and None in arguments.get("input_shape", ()):
            arguments["native_size"] = shape[:2]
        with keras.StatelessScope(initialize_variables=False):
            return variant(weights=None, **arguments)

    build.width = width(variant.config)
    return build


def width(config):
    """Channels of a model's features."""
    config = getattr(config, "encoder", config)
    if hasattr(config, "growth"):  # T2T-ViT-Dense: each block adds channels, and half of them go on to the next stage
        found = 2 * config.embed_dim
        for depth in config.depths:
            found = found // 2 + depth * config.growth
        return found
    widths = getattr(config, "embed_dims", None) or getattr(config, "dims", None)
    stages = getattr(config, "depths", ()) if hasattr(config, "window_size") else ()
    return widths[-1] if widths else config.embed_dim * 2 ** max(len(stages) - 1, 0)


@EVERY
@pytest.mark.parametrize("channels", [1, 4])
def test_sizes_may_be_left_open_with_any_number_of_channels(build, channels):
    model = build(include_top=False, input_shape=(None, None, channels))
    assert tuple(model.inputs[0].shape) == (None, None, None, channels)
    assert tuple(model.outputs[0].shape) == (None, None, None, build.width)


def built_or_padded(build, arguments):
    """The model with padding; without it there is the same one, or an error that names the option."""
    try:
        assert build(**arguments()).outputs[0].shape[-1] == build.width
    except ValueError as error:
        assert "dynamic_img_pad=True" in str(error)
    return build(**arguments(), dynamic_img_pad=True)


@EVERY
def test_images_of_123_pixels(build):
    model = built_or_padded(build, lambda: {"include_top": False, "input_shape": (123, 123, 3)})
    assert model.outputs[0].shape[-1] == build.width


def tensor_of_100_pixels():
    image = keras.Input((200, 200, 4), name="custom_input")
    return {"include_top": False, "input_tensor": keras.layers.Conv2D(3, 2, strides=2)(image)}


@EVERY
def test_a_tensor_of_100_pixels_behind_another_layer(build):
    model = built_or_padded(build, tensor_of_100_pixels)
    assert model.outputs[0].shape[-1] == build.width
    assert tuple(model.inputs[0].shape) == (None, 200, 200, 4)


@EVERY
def test_pooled_features_are_vectors(build):
    assert tuple(build(include_top=False, pooling="max").outputs[0].shape) == (None, build.width)
    of_any_size = build(include_top=False, pooling="max", input_shape=(None, None, 3))
    assert tuple(of_any_size.outputs[0].shape) == (None, build.width)


@EVERY
def test_the_classifiers_activation_ends_the_model_which_is_serialised(build):
    model = build(input_shape=(None, None, 3), classifier_activation="softmax", classes=10)
    assert model.layers[-1].activation is keras.activations.softmax
    config = model.to_json()
    with keras.StatelessScope(initialize_variables=False):
        again = keras.models.model_from_json(config)
    assert [v.path for v in again.weights] == [v.path for v in model.weights]
    assert again.to_json() == config
