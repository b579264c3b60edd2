import keras
import numpy as np
import pytest

from keras_vit.prediction.activations import as_probabilities

SIZE = (4, 6)
LOGITS = np.array([[-1.5, 0.0, 3.0], [2.0, 2.0, 2.0]], "float32")


def model(classes=3, activation=None, last=None):
    image = keras.Input((*SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    x = keras.layers.Dense(classes, activation=activation, kernel_initializer="ones", name="head")(x)
    return keras.Model(image, last(x) if last else x, name="toy")


def finished(model, outputs=LOGITS, classes=None):
    return keras.ops.convert_to_numpy(as_probabilities(model, SIZE, classes)(outputs))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


@pytest.mark.parametrize("last", [None, keras.layers.Rescaling(2.0)])
def test_logits_get_a_softmax(last):
    np.testing.assert_allclose(finished(model(last=last)), softmax(LOGITS), rtol=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_probabilities_stay(activation):
    np.testing.assert_array_equal(finished(model(activation=activation)), LOGITS)


@pytest.mark.parametrize("last", [keras.layers.Softmax(), keras.ops.softmax])
def test_a_softmax_that_is_no_activation_is_seen(last):
    np.testing.assert_array_equal(finished(model(last=last)), LOGITS)


@pytest.mark.parametrize("last", [None, keras.layers.Rescaling(2.0)])
def test_the_logit_of_one_class_gets_a_sigmoid(last):
    logits = LOGITS[:1].T
    np.testing.assert_allclose(finished(model(1, last=last), logits), 1 / (1 + np.exp(-logits)), rtol=1e-6)


@pytest.mark.parametrize("activation, last", [("sigmoid", None), (None, keras.ops.sigmoid)])
def test_the_probability_of_one_class_stays(activation, last):
    values = np.array([[0.2], [0.9]], "float32")
    np.testing.assert_array_equal(finished(model(1, activation, last), values), values)


@pytest.mark.parametrize(
    "activation, last", [("sigmoid", None), (None, None), (None, keras.layers.Activation("sigmoid"))]
)
def test_one_output_with_two_names_is_the_probability_of_the_second(activation, last):
    values = np.array([[0.2], [0.9]], "float32")
    outputs = values if activation or last else np.log(values / (1 - values))
    for kind in (np.asarray, keras.ops.convert_to_tensor):
        found = finished(model(1, activation, last), kind(outputs), classes=2)
        np.testing.assert_allclose(found, [[0.8, 0.2], [0.1, 0.9]], atol=1e-6)
    np.testing.assert_array_equal(finished(model(2, "softmax"), LOGITS, classes=2), LOGITS)  # of two outputs nothing


@pytest.mark.parametrize("activation, last", [("softmax", None), (None, keras.layers.Softmax())])
def test_a_softmax_over_one_class_is_refused(activation, last):
    with pytest.raises(ValueError, match="toy has a softmax over its only class.*'sigmoid'"):
        as_probabilities(model(1, activation, last), SIZE)


@pytest.mark.parametrize("last", [None, keras.layers.Rescaling(2.0)])
def test_logits_of_several_labels_are_independent(last):
    finish = as_probabilities(model(last=last), SIZE, multi_label=True)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(finish(LOGITS)), 1 / (1 + np.exp(-LOGITS)), rtol=1e-6)


def test_several_labels_of_a_softmax_are_refused():
    with pytest.raises(ValueError, match="softmax.*several labels.*sigmoid"):
        as_probabilities(model(activation="softmax"), SIZE, multi_label=True)
