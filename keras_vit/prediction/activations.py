"""What a classifier's outputs (B, K) mean: probabilities already, or logits that still need their activation.

Of K > 1 classes logits are taken to exclude each other and get a softmax; sigmoid outputs are probabilities, one class
independent of the other, and stay. Where an image may have several labels, logits get a sigmoid as well.
A single output is the probability that the image shows the one class, and its logit gets a sigmoid: a softmax over one
class is 1 for every image. Where the single output p has the names of two classes, as Keras trains on two folders, it
is that of the second, and the probabilities are (1 - p, p).
"""

import numpy as np

from keras_vit.system import keras_private


def as_probabilities(model, size, classes=None, multi_label=False):
    """The function from a Keras model's outputs to probabilities (B, K), for tensors and arrays.

    It depends on the last layer's activation, or, where there is no such attribute, on the outputs for noise.

    Args:
        model: a `keras.Model` with one output (B, K).
        size: (H, W) of its images, in pixels.
        classes: number of classes that have names; by default that of the outputs.
        multi_label: whether an image may have several labels.

    Raises:
        ValueError: for a softmax over one class, or where there may be several labels.
    """
    from keras import ops

    one_class = model.output_shape[-1] == 1
    activation = _last_activation(model)
    if activation == "softmax" and one_class:
        raise ValueError(
            f"{model.name} has a softmax over its only class, which is 1 for every image. Build it with "
            "classifier_activation='sigmoid' or None, or with a second class for all other images."
        )
    if activation == "softmax" and multi_label:
        raise ValueError(
            f"{model.name} has a softmax, by which its classes exclude each other, and several labels per image "
            '("multi_label": true). Build it with classifier_activation="sigmoid" or None.'
        )
    independent = one_class or multi_label
    logits = activation == "linear" or activation is None and _look_like_logits(model, size, independent)
    finish = (ops.sigmoid if independent else ops.softmax) if logits else lambda outputs: outputs
    return (lambda outputs: of_both(finish(outputs))) if one_class and classes == 2 else finish


def of_both(second):
    """Probabilities of two classes from that of the second, an array or a tensor.  (B, 1) -> (B, 2)."""
    from keras import ops

    concatenate = np.concatenate if isinstance(second, np.ndarray) else ops.concatenate
    return concatenate([1 - second, second], -1)


def _last_activation(model):
    """Name of the activation of the last layer; None if it has no such attribute."""
    import keras

    operation = keras_private.operation_of(model.outputs[0])
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(operation, "activation", None), "__name__", None)


def _look_like_logits(model, size, independent):
    """Whether outputs for noise are not probabilities: below 0, above 1, or, unless independent, of another sum."""
    from keras import ops

    noise = np.random.default_rng(0).normal(size=(4, *size, 3)).astype("float32")
    outputs = ops.convert_to_numpy(model(noise, training=False)).astype("float32")
    if independent:
        return bool(outputs.min() < 0 or outputs.max() > 1)
    return bool(outputs.min() < 0 or np.abs(outputs.sum(-1) - 1).max() > 1e-2)
