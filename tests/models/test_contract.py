"""The contract of every family, tested on toy architectures: one suite, no exceptions."""

import functools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit import models
from keras_vit.models.family import Family
from keras_vit.system.keras_private import all_layers
from keras_vit.training.step import distribute
from tests.models.cases import one_per_family, one_per_paper, params
from tests.models.toys import TOYS

CLASSES = 5


FAMILIES = pytest.mark.parametrize("toy", params(one_per_family()))
PAPERS = pytest.mark.parametrize("toy", params(one_per_paper()))
# Families whose models are put together in ways of their own: tokens, windows, stages, two convolutional parts.
BUILT_DIFFERENTLY = pytest.mark.parametrize("toy", params({"vit", "swin", "coat_lite", "hybrid", "pvt", "tnt"}))
# Keras traces a step twice, which takes ten seconds, the largest graphs half a minute, for two devices up to a minute.
FITTED = pytest.mark.parametrize("toy", params({"vit", "convnext"}))
# Keras' exporter traces a model several times, XLA and TFLite compile it.
EXPORTED = pytest.mark.parametrize("toy", params({"vit", "swin", "convnext"}))
TWO_DEVICES = pytest.mark.parametrize("toy", params({"vit"}))


def build(toy, **changes):
    """A toy with logits for five classes."""
    variant, shape = TOYS[toy]
    arguments = {"weights": None, "input_shape": shape, "classes": CLASSES, "classifier_activation": None}
    return variant(**{**arguments, **changes})


def random_images(toy, count=4, channels=3):
    height, width, _ = TOYS[toy][1]
    return np.random.default_rng(1).standard_normal((count, height, width, channels)).astype("float32")


def liven(model):
    """Moves every weight off its initial value: zeros and 1e-6 gammas would hide mistakes."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable)
        variable.assign(value + 0.1 * rng.standard_normal(value.shape).astype("float32"))
    return model


@functools.cache
def lively(toy):
    """A toy off its initial values, built once for all tests that only read it."""
    return liven(build(toy))


def outputs(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def test_every_family_has_a_toy():
    modules = [vars(module) for module in vars(models).values() if hasattr(module, "preprocess_input")]
    families = {id(value) for names in modules for value in names.values() if isinstance(value, Family)}
    assert families == {id(variant.family) for variant, _ in TOYS.values()}


@FAMILIES
def test_forward_is_finite_and_shaped(toy):
    logits = outputs(lively(toy), random_images(toy))
    assert logits.shape == (4, CLASSES)
    assert np.isfinite(logits).all() and logits.std() > 0


@PAPERS
def test_a_batch_equals_its_images_one_by_one(toy):
    model, images = lively(toy), random_images(toy)
    one_by_one = np.concatenate([outputs(model, images[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(outputs(model, images), one_by_one, atol=2e-5)


@FAMILIES
def test_gradients_reach_every_weight(toy):
    model = liven(build(toy, drop_path_rate=0.1, drop_rate=0.1))
    labels = np.arange(8) % CLASSES
    with tf.GradientTape() as tape:
        logits = model(random_images(toy, 8), training=True)
        loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    dead = [v.path for v, g in zip(model.trainable_variables, gradients) if g is None or not np.any(g)]
    assert [path for path in dead if not is_key_bias(path)] == []


def is_key_bias(path):
    """Softmax does not see a constant added to all scores of a query, so a key bias of its own has no gradient."""
    return path.endswith(("/key/bias", "/k/bias"))


@pytest.fixture(scope="module")
def mirrored():
    """The process's one strategy, over two logical CPU devices."""
    return distribute.make_strategy()


@FITTED
def test_compile_and_fit_as_a_keras_user_writes_it(toy):
    compile_and_fit(toy, tf.device("CPU:0"))


@TWO_DEVICES
def test_compile_and_fit_on_two_devices(toy, mirrored):
    compile_and_fit(toy, mirrored.scope())


def compile_and_fit(toy, where):
    """Two steps by Keras' own loop move every weight but for key biases."""
    with where:
        model = build(toy, classifier_activation="softmax", drop_path_rate=0.1)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    # Two images per replica and step, so that drop path leaves no branch out of them all.
    history = model.fit(random_images(toy, 8), np.arange(8) % CLASSES, batch_size=4, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    still = [v.path for a, b, v in zip(before, after, model.trainable_variables) if np.array_equal(a, b)]
    assert [path for path in still if not is_key_bias(path)] == []


@BUILT_DIFFERENTLY
def test_keras_round_trip_twice(toy, tmp_path):
    model, images = liven(build(toy, drop_path_rate=0.1, name="mine")), random_images(toy)
    once = reload(model, tmp_path / "once.keras")
    twice = reload(once, tmp_path / "twice.keras")
    assert twice.name == "mine"
    assert json.loads(twice.to_json()) == json.loads(model.to_json())
    np.testing.assert_array_equal(outputs(twice, images), outputs(model, images))


def reload(model, path):
    model.save(path)
    return keras.saving.load_model(path)


@pytest.mark.slow  # system/test_registration has it of two layers
def test_keras_files_load_where_only_keras_vit_is_imported(tmp_path):
    expected = {}
    for toy in TOYS:
        model = liven(build(toy))
        model.save(tmp_path / f"{toy}.keras")
        expected[toy] = outputs(model, random_images(toy)).tolist()
        np.save(tmp_path / f"{toy}.npy", random_images(toy))
    script = (
        "import json, sys, keras, numpy as np, keras_vit\n"
        "def run(toy):\n"
        "    path = f'{sys.argv[1]}/{toy}'\n"
        "    return keras.saving.load_model(path + '.keras')(np.load(path + '.npy'))\n"
        "print(json.dumps({toy: keras.ops.convert_to_numpy(run(toy)).tolist() for toy in sys.argv[2:]}))"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path, *TOYS], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    for toy in TOYS:
        np.testing.assert_allclose(loaded[toy], expected[toy], atol=1e-6)


@PAPERS
@pytest.mark.parametrize(
    "classes, channels", [(7, 1), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((1, 3), (3, 4)))]
)
def test_other_classes_and_channels(toy, classes, channels):
    height, width, _ = TOYS[toy][1]
    model = build(toy, classes=classes, input_shape=(height, width, channels))
    assert outputs(model, random_images(toy, 2, channels)).shape == (2, classes)


@BUILT_DIFFERENTLY
def test_bfloat16_policy_survives_a_reload(toy, tmp_path):
    model = liven(build(toy, dtype="mixed_bfloat16"))
    again = reload(model, tmp_path / "half.keras")
    wrong = [layer.name for layer in all_layers(again)[1:] if not expected_dtype(layer)]
    assert wrong == []
    images = random_images(toy)
    np.testing.assert_array_equal(outputs(again, images), outputs(model, images))
    assert outputs(model, images).dtype == "float32"
    full = build(toy)
    full.set_weights(model.get_weights())
    scale = outputs(full, images).std()
    assert 0 < np.abs(outputs(full, images) - outputs(model, images)).max() < 0.2 * scale
    assert keras.config.dtype_policy().name == "float32"


def expected_dtype(layer):
    """bfloat16 everywhere but in the classifier and in what states float32 because its numbers need it."""
    return layer.compute_dtype == "bfloat16" or (
        layer.compute_dtype == "float32" and layer.dtype_policy.name == "float32"
    )


@PAPERS
def test_the_graph_takes_any_batch(toy):
    model = lively(toy)
    assert model.inputs[0].shape[0] is None
    traced = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec(model.inputs[0].shape)])
    for count in (1, 3):
        images = random_images(toy, count)
        np.testing.assert_allclose(traced(images), outputs(model, images), atol=2e-5)


@EXPORTED
def test_xla_equals_plain(toy):
    model, images = lively(toy), random_images(toy)
    compiled = tf.function(lambda x: model(x, training=False), jit_compile=True)
    np.testing.assert_allclose(compiled(images), outputs(model, images), atol=5e-5)


@EXPORTED
def test_saved_model_equals_keras(toy, tmp_path):
    model, images = lively(toy), random_images(toy)
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.serve(images), outputs(model, images), atol=2e-5)


@EXPORTED
def test_tflite_equals_keras(toy):
    from ai_edge_litert.interpreter import Interpreter
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model, image = lively(toy), random_images(toy, 1)
    traced = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec(image.shape))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(traced)])
    interpreter = Interpreter(model_content=converter.convert())  # operators that are not builtin would fail here
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, outputs(model, image), atol=1e-4)


def test_an_unknown_argument_is_an_error():
    with pytest.raises(TypeError, match="drop_path"):
        build("vit", drop_path=0.1)


@BUILT_DIFFERENTLY
def test_features_without_the_classifier(toy):
    variant, (height, width, _) = TOYS[toy]
    maps = build(toy, include_top=False)
    assert len(maps.outputs[0].shape) == 4
    features = {
        pooling: outputs(liven(build(toy, include_top=False, pooling=pooling)), random_images(toy))
        for pooling in ("avg", "max")
    }
    assert features["avg"].shape == features["max"].shape == (4, maps.outputs[0].shape[-1])
    assert not np.allclose(features["avg"], features["max"])


@PAPERS
def test_preprocessing_inside_takes_pixels(toy):
    variant, _ = TOYS[toy]
    inside, outside = build(toy, include_preprocessing=True), lively(toy)
    inside.set_weights(outside.get_weights())
    pixels = np.random.default_rng(2).uniform(0, 255, random_images(toy).shape).astype("float32")
    mean, std = np.array(variant.spec.mean), np.array(variant.spec.std)
    normalised = ((pixels / 255 - mean) / std).astype("float32")
    np.testing.assert_allclose(outputs(inside, pixels), outputs(outside, normalised), atol=1e-4)


@PAPERS
def test_builds_on_a_given_tensor(toy):
    shape = TOYS[toy][1]
    image = keras.Input(shape)
    plain = lively(toy)
    model = build(toy, input_tensor=keras.layers.Rescaling(0.5)(image), input_shape=None)
    model.set_weights(plain.get_weights())
    np.testing.assert_allclose(outputs(model, random_images(toy)), outputs(plain, 0.5 * random_images(toy)), atol=1e-5)


@FAMILIES
def test_layer_names_are_given_and_unique(toy):
    """Names that Keras makes up carry a counter, so a second model would have others."""
    names = [layer.name for layer in lively(toy).layers]
    assert len(set(names)) == len(names)
    assert [layer.name for layer in build(toy).layers] == names


@PAPERS
def test_own_safetensors_load(toy, tmp_path):
    from safetensors.numpy import save_file

    model = lively(toy)
    save_file({v.path: keras.ops.convert_to_numpy(v) for v in model.weights}, tmp_path / "own.safetensors")
    again = build(toy, weights=tmp_path / "own.safetensors")
    np.testing.assert_array_equal(outputs(again, random_images(toy)), outputs(model, random_images(toy)))
