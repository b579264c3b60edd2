"""Every use of Keras' private interfaces, in one file, so that a new Keras breaks one file and a test says which line.

Tested on both ends of the versions that setup.cfg allows (`make test`, `make test-lowest`).
"""


def all_layers(model):
    """The layers of a model, children of layers included, the model itself first."""
    return list(model._flatten_layers(include_self=True))


def leaves_with_weights(model):
    """Its layers without children that have weights of the kind that training changes, frozen ones included.

    What a Normalization layer was given, the statistics of a BatchNormalization and seeds are no such weights.
    """
    return [
        layer
        for layer in all_layers(model)
        if not layer._layers and (layer._trainable_variables or layer.quantization_mode is not None)
    ]


def operation_of(tensor):
    """The operation (a layer, or an operation of keras.ops) that gives a symbolic tensor."""
    return tensor._keras_history.operation


def call_of(tensor):
    """The operation that gives a symbolic tensor, and the tensors that it was called on."""
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors


def recomputed(layer):
    """Whether a `keras.RematScope` makes the backward pass compute the layer a second time."""
    scope = getattr(layer, "_remat_mode", None)
    return scope is not None and scope.mode is not None


def moments_of(optimizer, index):
    """First and second moment of variable number `index`, of a built Adam or Lamb optimizer."""
    return optimizer._momentums[index], optimizer._velocities[index]
