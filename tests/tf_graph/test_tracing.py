import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.tf_graph.tracing import NoInferenceForm, check_size, trace
from tests.tf_graph.made import IMAGES, SHAPE, draw, run

W = tf.Variable(draw(3, 5))


def test_variables_and_captured_tensors_are_constants():
    captured = tf.constant(draw(5))
    graph = trace(lambda x: tf.tensordot(x, W, 1) + captured, SHAPE)
    assert {"ReadVariableOp", "Placeholder"} & set(graph.kinds()) == {"Placeholder"}
    given = run(graph)
    np.testing.assert_allclose(given, IMAGES @ W.numpy() + captured.numpy(), rtol=1e-5, atol=1e-5)
    W.assign(2 * W)
    np.testing.assert_array_equal(run(graph), given)  # of the weights as they were


def test_a_variable_that_is_read_twice_is_one_constant():
    graph = trace(lambda x: tf.tensordot(x, W, 1) + tf.tensordot(tf.abs(x), W, 1), SHAPE)
    kernels = {operator.inputs[1] for operator in graph.operators if operator.kind == "MatMul"}
    assert len(kernels) == 1


def test_functions_that_are_called_and_conditions():
    inner = tf.function(lambda x: x * tf.reduce_sum(W), autograph=False)

    def function(x):
        return tf.cond(tf.shape(x)[0] > 2, lambda: inner(x), lambda: x)

    graph = trace(function, SHAPE)
    for images in (IMAGES, IMAGES[:1]):
        np.testing.assert_allclose(run(graph, images), function(tf.constant(images)), rtol=1e-5)


def test_models_run_as_in_inference():
    image = keras.Input(SHAPE)
    model = keras.Model(image, [keras.layers.Dropout(0.9)(image), keras.layers.ReLU()(image)])
    given = run(trace(model, SHAPE))
    np.testing.assert_array_equal(given["output_0"], IMAGES)
    np.testing.assert_array_equal(given["output_1"], np.maximum(IMAGES, 0))


@pytest.mark.parametrize("size, fits", [(2**30, True), (2**31, False)])
def test_two_gibibytes_are_too_large(size, fits):
    if fits:
        check_size(size)
        return
    with pytest.raises(NoInferenceForm, match="below 2 GiB. Received: 2.0 GiB"):
        check_size(size)
