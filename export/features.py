"""What a classifier knows of a picture before it names it: the vector that its head reads.

For the models of this library that is what they give with include_top=False and the pooling of their classifier: the
class token ("token"), the mean of the map ("avg"), or the mean of the two tokens of a distilled model.
"""

import keras

from keras_vit.preprocessing import normalize, normalizes_inside

PRE_LOGITS = "pre_logits"  # the Dense and tanh of ViT's first 21k classifiers; part of the head here, as in timm


def features(source):
    """images float32 (B, H, W, 3) in [0, 255], of the model's size -> features (B, D): the function to trace.

    None for a model whose classifier is not a Dense layer that reads vectors.
    """
    inputs = head_inputs(source.model)
    if inputs is None:
        return None
    model = keras.Model(source.model.inputs[0], keras.layers.average(inputs) if len(inputs) > 1 else inputs[0])
    if normalizes_inside(source.model):
        return lambda images: model(images, training=False)
    return lambda images: model(normalize(images, source.spec), training=False)


def head_inputs(model):
    """The Keras tensors (B, D) that the model's last layers with weights read; None unless those are Dense layers."""
    inputs, waiting = [], list(model.outputs)
    while waiting:
        tensor = waiting.pop(0)
        layer, arguments = _made_by(tensor)
        if not getattr(layer, "weights", ()):
            waiting.extend(arguments)
        elif isinstance(layer, keras.layers.Dense) and len(arguments[0].shape) == 2:
            inputs.append(_without_pre_logits(arguments[0]))
        else:
            return None
    return inputs or None


def _without_pre_logits(tensor):
    layer, arguments = _made_by(tensor)
    return arguments[0] if layer.name == PRE_LOGITS else tensor


def _made_by(tensor):
    """The layer or operation that a Keras tensor comes out of, and the tensors it was called on."""
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors
