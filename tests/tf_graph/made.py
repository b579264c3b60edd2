"""Graphs of small functions, and toys whose weights are drawn: their initial values would hide errors."""

import functools

import keras
import numpy as np
import tensorflow as tf

from keras_vit.tf_graph.constants import fold_constants
from keras_vit.tf_graph.inference_form import InferenceForm, inference_form
from keras_vit.tf_graph.tracing import trace
from tests.models.toys import TOYS

SHAPE = (6, 8, 3)  # of the images of small functions
DRAW = np.random.default_rng(0)


def draw(*shape):
    """Normal float32 values."""
    return DRAW.normal(size=shape).astype("float32")


IMAGES = draw(3, *SHAPE)


def graph_of(function, *passes, shape=SHAPE):
    """The graph of a function of images, after passes."""
    graph = trace(function, shape)
    for change in (fold_constants, *passes):
        change(graph)
    return graph


def run(graph, images=IMAGES):
    """What a graph gives: an array, or {name: array} of several outputs."""
    outputs = InferenceForm(graph, images.shape[1:]).function()(tf.constant(images))
    outputs = {name: value.numpy() for name, value in outputs.items()}
    return outputs["output"] if set(outputs) == {"output"} else outputs


def standardised(x, epsilon=1e-6):
    """(x - mean) / sqrt(variance + epsilon) along the last axis, in float64."""
    x = x.astype("float64")
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)


def layer_norm(x, gamma=None, beta=None, epsilon=1e-6):
    """LayerNorm as Keras traces it: x (r gamma) + (-mean (r gamma) + beta)."""
    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, tf.stop_gradient(mean)), -1, keepdims=True)
    factor = tf.math.rsqrt(variance + epsilon)
    factor = factor if gamma is None else factor * gamma
    return x * factor + (-mean * factor if beta is None else -mean * factor + beta)


@functools.cache
def toy(name):
    """A toy that gives logits, and whose weights, scales, shifts and statistics are all drawn."""
    variant, shape = TOYS[name]
    return with_drawn_weights(variant(weights=None, input_shape=shape, classes=6, classifier_activation=None), 0.1)


def with_drawn_weights(model, spread=0):
    """The model, to whose vectors normal values are added, and others of this standard deviation to its kernels."""
    drawn = np.random.default_rng(0)
    for weight in model.weights:
        value = np.asarray(weight) + drawn.normal(0, 0.3 if len(weight.shape) == 1 else spread, weight.shape)
        weight.assign(np.abs(value) + 0.3 if "variance" in weight.path else value)
    return model


@functools.cache
def form_of(name):
    """The inference form of a toy."""
    return inference_form(toy(name))


def difference(model, form, number=2):
    """The largest difference of logits from those of the model in eager mode, relative to their standard deviation."""
    images = np.random.default_rng(1).normal(size=(number, *form.shape)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    return np.abs(form.function()(images)["output"].numpy() - expected).max() / expected.std()
