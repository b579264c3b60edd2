"""Penultimate-layer features: the vector (B, D) that a classifier's head reads.

For the models of this library they are the outputs with include_top=False and the classifier's own pooling: the class
token ("token"), the mean of the feature map ("avg"), or the mean of the two tokens of a distilled model.
"""

import keras

from keras_vit.system import keras_private

PRE_LOGITS = "pre_logits"  # Dense and tanh of ViT's first 21k classifiers; part of the head here, as in timm


def without_head(model):
    """The Keras model of the features (B, D) of a classifier's images; None as for `head_inputs`."""
    inputs = head_inputs(model)
    if inputs is None:
        return None
    return keras.Model(model.inputs[0], keras.layers.average(inputs) if len(inputs) > 1 else inputs[0])


def head_inputs(model):
    """The Keras tensors (B, D) that the last layers with weights read; None unless those are Dense layers."""
    inputs, waiting = [], list(model.outputs)
    while waiting:
        tensor = waiting.pop(0)
        layer, arguments = keras_private.call_of(tensor)
        if not getattr(layer, "weights", ()):
            waiting.extend(arguments)
        elif isinstance(layer, keras.layers.Dense) and len(arguments[0].shape) == 2:
            inputs.append(_without_pre_logits(arguments[0]))
        else:
            return None
    return inputs or None


def _without_pre_logits(tensor):
    layer, arguments = keras_private.call_of(tensor)
    return arguments[0] if layer.name == PRE_LOGITS else tensor
