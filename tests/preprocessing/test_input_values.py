"""What a model takes is seen in what it computes: in every form of wrapping, by no name, on every backend."""

import dataclasses
import pathlib
import subprocess

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_vit.cli import arguments
from keras_vit.preprocessing import INPUT_VALUES, Spec, as_taken, find_input_values, normalize
from tests.models.cases import one_per_paper, params
from tests.models.toys import TOYS
from tests.wrapped_models import SPEC, WRAPPINGS, behind, classifier

SPECS = {"imagenet": SPEC, "half": Spec((8, 10), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))}
JAX = pathlib.Path(__file__).parents[2] / ".venv-jax/bin/python"


def before(*steps, **settings):
    """The classifier behind these functions of the image alone."""
    return behind(*(lambda x, spec, step=step: step(x) for step in steps), **settings)(classifier(), SPEC)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_wrapping(name, spec):
    wrap, takes = WRAPPINGS[name]
    model, spec = wrap(classifier(), SPECS[spec]), SPECS[spec]
    assert find_input_values(model, spec.size) == takes


@pytest.mark.parametrize("name", WRAPPINGS)
def test_a_wrapping_fed_so_computes_what_the_classifier_does(name):
    """The table of wrappings is right: what this file's other tests rest on."""
    wrap, takes = WRAPPINGS[name]
    inner, images = classifier(), np.random.default_rng(0).integers(0, 256, (4, *SPEC.size, 3)).astype("float32")
    expected = ops.convert_to_numpy(inner(normalize(images, SPEC)))
    found = ops.convert_to_numpy(wrap(inner, SPEC)(as_taken(images, SPEC, takes), training=False))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_wrapping_after_a_round_through_its_file(name, tmp_path):
    wrap, takes = WRAPPINGS[name]
    wrap(classifier(), SPEC).save(tmp_path / "m.keras")
    assert find_input_values(keras.saving.load_model(tmp_path / "m.keras", compile=False), SPEC.size) == takes


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("family", params(one_per_paper(), TOYS))
def test_this_librarys_models(family, inside):
    variant, shape = TOYS[family]
    model = variant(weights=None, input_shape=shape, classes=2, include_preprocessing=inside)
    takes = "pixels" if inside else "normalized"
    assert find_input_values(model, shape[:2]) == takes
    image = keras.Input(shape)
    assert find_input_values(keras.Model(image, layers.Dense(3)(model(image))), shape[:2]) == takes


@pytest.mark.parametrize("inside", [False, True])
def test_input_tensor(inside):
    variant, shape = TOYS["swin"]
    image = keras.Input(shape)
    x = layers.Rescaling(1 / 127.5, -1.0)(layers.RandomFlip()(image)) if inside else layers.RandomFlip()(image)
    model = variant(weights=None, input_tensor=x, classes=2)
    assert find_input_values(model, shape[:2]) == ("pixels" if inside else "normalized")


@pytest.mark.parametrize(
    "name, takes",
    [
        ("EfficientNetB0", "pixels"),
        ("EfficientNetV2B0", "pixels"),
        ("MobileNetV3Small", "pixels"),
        ("ConvNeXtTiny", "pixels"),
        ("MobileNetV2", "normalized"),
        ("ResNet50", "normalized"),
    ],
)
def test_keras_applications(name, takes):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=2)
    assert find_input_values(model, (64, 64)) == takes


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["other_name", "ops", "unit", "plain", "batch_norm_of_pixels"])
def test_half_precision(name, policy):
    keras.config.set_dtype_policy(policy)  # undone after every test
    wrap, takes = WRAPPINGS[name]
    assert find_input_values(wrap(classifier(), SPEC), SPEC.size) == takes


def test_a_quantized_model():
    model = WRAPPINGS["other_name"][0](classifier(first=lambda x: layers.Dense(4, use_bias=False)(x)), SPEC)
    keras_layers = [layer for layer in model.layers[-1].layers if isinstance(layer, layers.Dense)]
    for layer in keras_layers:
        layer.quantize("int8")
    assert find_input_values(model, SPEC.size) == "pixels"


@pytest.mark.parametrize("takes", ["pixels", "normalized"])
@pytest.mark.parametrize("first", ["patches", "norm", "pool", "position", "grey", "fixed"])
def test_networks_that_do_not_begin_with_a_convolution_of_the_image(first, takes):
    def patches(x):
        x = ops.reshape(x, (-1, 4, 2, 5, 2, 3))
        return layers.Dense(7)(ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 4, 5, 12)))

    def position(x):
        """Weights that see no image come first: a learned table of positions."""
        rows = ops.cast(ops.cumsum(ops.ones_like(x[..., 0]), 1), "int32")  # B H W
        return layers.Conv2D(4, 3)(layers.Concatenate()([x, layers.Embedding(9, 3)(rows)]))

    def fixed(x):
        """Weights that training does not change are part of the preprocessing."""
        return layers.Conv2D(4, 3)(FixedGain()(x))

    kinds = {
        "patches": patches,
        "norm": lambda x: layers.Conv2D(4, 1)(layers.LayerNormalization()(x)),
        "pool": lambda x: layers.Dense(4)(layers.AveragePooling2D(2)(x)),
        "position": position,
        "grey": lambda x: layers.Conv2D(4, 3)(ops.image.rgb_to_grayscale(x)),
        "fixed": fixed,
    }
    inner = classifier(first=kinds[first])
    model = WRAPPINGS["other_name"][0](inner, SPEC) if takes == "pixels" else inner
    assert find_input_values(model, SPEC.size) == takes


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_images_standardised_one_by_one_are_fed_as_pixels(scale):
    def standardize(x):
        x = x * scale
        mean, deviation = ops.mean(x, (1, 2, 3), keepdims=True), ops.std(x, (1, 2, 3), keepdims=True)
        return (x - mean) / ops.maximum(deviation, 1e-6)

    assert find_input_values(before(standardize), SPEC.size) == "pixels"
    assert (
        find_input_values(
            before(lambda x: layers.LayerNormalization(center=False, scale=False, axis=(1, 2, 3))(x)), SPEC.size
        )
        == "pixels"
    )


def test_a_resizing_model_of_any_size():
    image = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 255)(layers.Resizing(*SPEC.size)(image))
    assert find_input_values(keras.Model(image, classifier()(x)), (20, 30)) == "pixels"
    assert (
        find_input_values(keras.Model(image, classifier()(layers.Resizing(*SPEC.size)(image))), (20, 30))
        == "normalized"
    )


def test_batches_of_a_fixed_size():
    image = keras.Input((*SPEC.size, 3), batch_size=1)
    model = keras.Model(image, classifier()(layers.Rescaling(1 / 255)(image)))
    assert find_input_values(model, SPEC.size) == "pixels"


class FixedGain(layers.Layer):
    """Somebody's own normalisation with stored values, as Keras' Normalization has them."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(), initializer="ones", trainable=False)

    def call(self, x):
        return x * self.gain


class OwnWeights(layers.Layer):
    """Normalises and has weights, in one layer of somebody's own."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4))

    def call(self, x):
        return ops.matmul(x / 255.0, self.kernel)


class OwnConvolution(layers.Conv2D):
    """Somebody's own, whose call is Keras'."""


class OwnModel(keras.Model):
    """All of it in one class."""

    def __init__(self):
        super().__init__(name="own_model")
        self.kernel = self.add_weight(shape=(3, 3))

    def call(self, images):
        return ops.softmax(ops.matmul(ops.mean(images / 255.0, (1, 2)), self.kernel))


UNCLEAR = {
    "odd_gain": lambda: before(lambda x: x * 0.3),
    "odd_offset": lambda: before(lambda x: x - 0.5),
    "inverted": lambda: before(lambda x: x * 60 + 110),
    "clipped": lambda: before(lambda x: ops.clip(x, 0.0, 1.0)),
    "squared": lambda: before(lambda x: ops.square(x / 255.0)),
    "edges": lambda: before(lambda x: x - ops.mean(x, (1, 2), keepdims=True)),
    "own_weights": lambda: classifier(first=OwnWeights()),
    "own_model": OwnModel,
    "no_weights": lambda: keras.Sequential(
        [keras.Input((*SPEC.size, 3)), layers.GlobalAveragePooling2D()], name="bare"
    ),
    "odd_statistics": lambda: odd_statistics(),
}


def odd_statistics():
    layer = layers.BatchNormalization()
    model = before(layer)
    layer.set_weights([np.ones(3), np.zeros(3), np.full(3, 0.3), np.full(3, 0.55)])
    return model


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_cannot_be_told_is_asked_for(name):
    model = UNCLEAR[name]()
    with pytest.raises(
        ValueError, match=f"{model.name}: it cannot be told.*--input-values .in Python: input_values=."
    ) as error:
        find_input_values(model, SPEC.size)
    assert all(values in str(error.value) for values in INPUT_VALUES)
    assert find_input_values(model, SPEC.size, "unit") == "unit"


def test_an_own_class_that_calls_keras_is_trusted():
    assert find_input_values(classifier(first=OwnConvolution(4, 3)), SPEC.size) == "normalized"


def test_the_error_says_what_was_found():
    with pytest.raises(ValueError, match=r"layer 'stem', are given 0.3 \* v \+0 for a value v"):
        find_input_values(before(lambda x: x * 0.3), SPEC.size)
    with pytest.raises(ValueError, match="input_values must be one of pixels, unit, normalized. Received: 'bytes'"):
        find_input_values(classifier(), SPEC.size, "bytes")


def test_the_model_is_as_it_was_before():
    model = WRAPPINGS["augmentation"][0](classifier(), SPEC)
    layers_of = [layer for one in (model, model.layers[-1]) for layer in one.layers]
    kept = [dict(vars(layer)) for layer in layers_of]
    for _ in range(2):
        find_input_values(model, SPEC.size)
    assert [set(vars(layer)) for layer in layers_of] == [set(attributes) for attributes in kept]
    assert model(np.zeros((1, *SPEC.size, 3))).shape == (1, 3)
    with pytest.raises(ValueError, match="running it on images of one colour failed: .*division by zero"):
        find_input_values(before(lambda x: layers.Lambda(fails, output_shape=x.shape[1:])(x)), SPEC.size)


def fails(x):
    return x if keras.backend.is_keras_tensor(x) else 1 / 0


def test_images_as_they_are_taken():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype("uint8")
    np.testing.assert_array_equal(as_taken(images, SPEC, "pixels"), images.astype("float32"))
    np.testing.assert_allclose(as_taken(images, SPEC, "unit"), images / np.float32(255), rtol=1e-6)
    np.testing.assert_array_equal(as_taken(images, SPEC, "normalized"), normalize(images, SPEC))
    for values in INPUT_VALUES:
        tensor = as_taken(ops.convert_to_tensor(images), SPEC, values)
        assert ops.is_tensor(tensor) and tensor.dtype == "float32"
        np.testing.assert_allclose(tensor, as_taken(images, SPEC, values), atol=1e-6)
        recorded = dataclasses.replace(SPEC, input_values=values)
        np.testing.assert_array_equal(as_taken(images, recorded), as_taken(images, SPEC, values))


def test_the_verbs_offer_these_values():
    assert arguments.INPUT_VALUES == INPUT_VALUES


@pytest.mark.slow
@pytest.mark.skipif(not JAX.exists(), reason="needs .venv-jax, a venv with keras and jax")
def test_on_jax():
    code = (
        "from keras_vit.preprocessing import find_input_values\n"
        "from tests.wrapped_models import SPEC, WRAPPINGS, classifier\n"
        "for name, (wrap, takes) in WRAPPINGS.items():\n"
        "    assert find_input_values(wrap(classifier(), SPEC), SPEC.size) == takes, name\n"
    )
    environment = {"KERAS_BACKEND": "jax", "PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([str(JAX), "-c", code], env=environment, cwd=JAX.parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
