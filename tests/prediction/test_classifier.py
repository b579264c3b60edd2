import keras
import numpy as np

from keras_vit.prediction.classifier import as_functional
from tests.wrapped_models import SPEC, WRAPPINGS, classifier


def test_a_functional_model_is_returned_itself():
    model = classifier()
    assert as_functional(model, SPEC.size) is model


def test_a_subclassed_model_gets_inputs_and_outputs():
    model = WRAPPINGS["subclassed"][0](classifier(), SPEC)
    functional = as_functional(model, SPEC.size)
    images = np.random.default_rng(0).uniform(0, 255, (2, *SPEC.size, 3)).astype("float32")
    assert (functional.input_shape, functional.output_shape) == ((None, *SPEC.size, 3), (None, 3))
    assert functional.name == model.name and functional.count_params() == model.count_params()
    np.testing.assert_array_equal(functional(images), model(images))


def test_a_sequential_model_without_an_input_is_functional():
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    model(np.zeros((1, 4, 4, 3)))
    assert as_functional(model, (4, 4)) is model
