"""A model in float32: that is exported, whatever precision it was trained in."""

import contextlib

import keras
import numpy as np

from keras_vit.system import keras_private

HALVES = ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16")


def in_float32(model):
    """The model itself if all of it computes in float32, else one rebuilt in float32 with the same weights.

    The weights keep their values: under a mixed policy they are float32 already.

    Raises:
        ValueError: for a policy that cannot be replaced (float64, quantized layers), naming the layer.
    """
    if not _other_policies(model):
        return model
    with _float32_as_default():
        config = _replaced(keras.saving.serialize_keras_object(model))
        rebuilt = keras.saving.deserialize_keras_object(config)
    others = _other_policies(rebuilt)
    if others:
        layer, policy = next(iter(others.items()))
        raise ValueError(
            f"Export needs a model that can be rebuilt in float32. Layer {layer!r} keeps the dtype policy {policy!r}; "
            "give its children dtype=self.dtype_policy, or build the model in float32 and load the weights."
        )
    rebuilt.set_weights([_as_float32(weight) for weight in model.weights])
    return rebuilt


def _other_policies(model):
    layers = keras_private.all_layers(model)
    return {layer.path: layer.dtype_policy.name for layer in layers if layer.dtype_policy.name != "float32"}


def _replaced(config):
    """The configuration with every half-precision policy, a name or an object, replaced by float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return "float32" if config["config"]["name"] in HALVES else config
        return {
            key: "float32" if key == "dtype" and _is_half(value) else _replaced(value) for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_replaced(value) for value in config)
    return config


def _is_half(value):
    return isinstance(value, str) and value in HALVES


def _as_float32(weight):
    value = keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32") if _is_half(weight.dtype) else weight)
    return np.asarray(value)


@contextlib.contextmanager
def _float32_as_default():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
