"""The functions that are traced for every artifact."""

import keras
import numpy as np

from keras_vit.preprocessing import normalize, normalizes_inside


def probabilities(source):
    """images float32 (B, H, W, 3) in [0, 255], of the model's size -> probabilities (B, K): the function to trace.

    A model that gives logits gets the softmax it lacks; one that normalises its pixels itself is left to it.
    """
    model, spec = source.model, source.spec
    finish = keras.ops.softmax if gives_logits(model, spec.size) else keras.ops.convert_to_tensor
    if normalizes_inside(model):
        return lambda images: finish(model(images, training=False))
    return lambda images: finish(model(normalize(images, spec), training=False))


def gives_logits(model, size):
    """Whether the outputs still need a softmax: told by the last layer's activation, else by trying.

    Sigmoid outputs are probabilities already, one class independent of the other, and stay as they are.
    """
    operation = model.outputs[0]._keras_history.operation
    activation = getattr(operation, "activation", None)
    if activation is not None:
        return activation is keras.activations.linear
    if isinstance(operation, keras.layers.Softmax):
        return False
    noise = np.random.default_rng(0).normal(size=(4, *size, 3)).astype("float32")
    outputs = keras.ops.convert_to_numpy(model(noise, training=False))
    return bool(outputs.min() < 0 or np.abs(outputs.sum(-1) - 1).max() > 1e-3)
