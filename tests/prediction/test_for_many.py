import numpy as np
import pytest

from keras_vit.prediction import for_many as module
from keras_vit.prediction.for_many import for_many
from keras_vit.prediction.predictor import keras_predictor
from keras_vit.prediction.tta import augmented
from keras_vit.preprocessing import Spec
from keras_vit.sources.answers import Answers
from tests.models.toys import TOYS

LABELS = tuple("abcdef")
MANY = module.FROM


def model_of(name):
    variant, shape = TOYS[name]
    model = variant(weights=None, input_shape=shape, classes=len(LABELS))
    draw = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + draw.normal(0, 0.1, weight.shape))
    return model


def predictor_of(model, answers=Answers()):
    spec = Spec(tuple(model.input_shape[1:3]), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    return keras_predictor("keras model", "toy", model, spec, LABELS, None, "normalized", answers)


@pytest.fixture(scope="module")
def convnext():
    return model_of("convnext")


@pytest.fixture
def images(convnext):
    return list(np.random.default_rng(1).uniform(0, 255, (3, *convnext.input_shape[1:])).astype("float32"))


def test_many_images_run_the_form_and_get_the_same_probabilities(convnext, images, monkeypatch):
    predictor = predictor_of(convnext)
    expected, made = predictor.run(images), for_many(predictor, MANY)
    monkeypatch.setattr(convnext, "predict_on_batch", None)  # it is not called
    for batch in (images, images[:1]):
        np.testing.assert_allclose(made.run(batch), expected[: len(batch)], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(made.predict_prepared(images, 2), expected, rtol=1e-5, atol=1e-7)
    assert (made.labels, made.model, made.run_known) == (predictor.labels, convnext, None)


def test_scores_of_known_images_come_with_them(convnext, images):
    predictor = predictor_of(convnext, Answers(unknown={"score": "energy", "threshold": 0.0, "kept": 0.9}))
    expected, given = predictor.run_known(images), for_many(predictor, MANY).run_known(images)
    for one, other in zip(given, expected):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_other_predictors_stay_as_they_are(convnext, monkeypatch):
    predictor = predictor_of(convnext)
    views, compiled = augmented(predictor, "hflip"), predictor_of(model_of("vit"))
    assert for_many(predictor, MANY - 1) is predictor
    assert for_many(views, MANY) is views
    assert compiled.model.jit_compile and for_many(compiled, MANY) is compiled
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    assert for_many(predictor, MANY) is predictor


def test_a_model_in_half_precision_stays_as_it_is():
    import keras

    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16")(image)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    model = keras.Model(image, keras.layers.Dense(len(LABELS), "softmax", dtype="float32")(x))
    model.jit_compile = False
    predictor = predictor_of(model)
    assert for_many(predictor, MANY) is predictor
