"""Every use of Keras' private interfaces, in one file, so that a new Keras breaks one file and a test says which line.

Tested on both ends of the versions that setup.cfg allows (`make test`, `make test-lowest`).
"""

import contextlib

import numpy as np


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


def run_graph(model, x, operation):
    """The output of a functional model's graph on another input, each layer replaced by `operation(layer)`."""
    return model._run_through_graph(x, operation_fn=operation)


def recomputed(layer):
    """Whether a `keras.RematScope` makes the backward pass compute the layer a second time."""
    scope = getattr(layer, "_remat_mode", None)
    return scope is not None and scope.mode is not None


def moments_of(optimizer, index):
    """First and second moment of variable number `index`, of a built Adam or Lamb optimizer."""
    return optimizer._momentums[index], optimizer._velocities[index]


def model_from_json(text):
    """The model that the config.json of a `.keras` file describes, not compiled; code in it is refused."""
    from keras.src.saving import saving_lib

    return saving_lib._model_from_config(text, None, compile=False, safe_mode=True)


class _Waiting(list):
    """Variables that wait for their values, each shown to `check` first."""

    def __init__(self, variables, check):
        super().__init__(variables)
        self.check = check

    def append(self, variable):
        """Add a variable, unless `check` raises."""
        self.check(variable)
        super().append(variable)


@contextlib.contextmanager
def variables_without_values(check):
    """Inside, new variables have a shape only; at the end they get their values, unless an error ends it.

    Args:
        check: is called with every variable before it is one of the model's; what it raises ends the building.
    """
    import keras
    from keras.src.backend.common import global_state

    waiting = "uninitialized_variables"
    before = list(global_state.get_global_attribute(waiting) or ())
    global_state.set_global_attribute(waiting, _Waiting(before, check))
    scope = keras.StatelessScope(initialize_variables=False)
    try:
        with scope:
            yield
            scope.initialize_variables = True
    except BaseException:
        global_state.set_global_attribute(waiting, before)  # else the next scope gives all of them their values
        raise


def numbers_of(variable):
    """The numbers of a variable as a NumPy array, to be read only; not copied where the backend allows it."""
    value = variable.value
    return np.asarray(value.read_value() if hasattr(value, "read_value") else value)  # TensorFlow's variables copy


def load_state(model, weights, assets=None):
    """Give a model the values of a `.keras` file.

    Args:
        weights: its model.weights.h5, a file object.
        assets: the file as an open zip, where it has assets.

    Raises:
        ValueError: with Keras' own message.
    """
    from keras.src.saving import saving_lib

    store, errors, failed = saving_lib.H5IOStore(weights, mode="r"), {}, set()
    files = assets and saving_lib.DiskIOStore("assets", archive=assets, mode="r")
    try:
        saving_lib._load_state(
            model,
            weights_store=store,
            assets_store=files,
            inner_path="",
            visited_saveables=set(),
            failed_saveables=failed,
            error_msgs=errors,
        )
    finally:
        store.close()
        if files:
            files.close()
    if failed:
        saving_lib._raise_loading_failure(errors)
