"""(x / 255 - mean) / std, on every backend."""

import sys

import numpy as np


def normalize(images, spec):
    """(x / 255 - mean) / std in float32, for images (..., H, W, C) in [0, 255].

    For a channel count other than 3, every channel gets the mean of the spec's three means, and of its three stds.

    Returns:
        A numpy array for a numpy array, a tensor for a tensor, a symbolic Keras tensor for a symbolic one.

    Raises:
        ValueError: for channels first.
    """
    images = images if hasattr(images, "shape") else np.asarray(images)
    refuse_channels_first(images)
    mean, std = (_per_channel(values, images.shape[-1]) for values in (spec.mean, spec.std))
    images = as_float32(images)
    if isinstance(images, np.ndarray):
        # As lines of W C numbers, which NumPy goes over six times as fast as over axes of three, for the same values.
        *rows, W, C = images.shape
        lines = images.reshape(*rows, W * C) / np.float32(255)
        lines -= np.tile(mean, W)
        lines /= np.tile(std, W)
        return lines.reshape(images.shape)
    if is_tensorflow(images):
        return (images / 255.0 - mean) / std
    from keras import ops

    return ops.divide(ops.subtract(ops.divide(images, 255.0), mean), std)


def as_float32(images):
    """An array or a tensor in float32, of the same kind."""
    if isinstance(images, np.ndarray):
        return images.astype("float32", copy=False)
    if is_tensorflow(images):  # also inside tf.data while Keras runs on another backend
        import tensorflow as tf

        return tf.cast(images, tf.float32)
    from keras import ops

    return ops.cast(images, "float32")


def refuse_channels_first(images):
    """Raise a ValueError unless images are (..., H, W, C), and Keras is set to that."""
    import keras

    shape = tuple(images.shape)
    if len(shape) < 3:
        raise ValueError(f"Images are (..., H, W, C). Received shape: {shape}.")
    if keras.config.image_data_format() == "channels_first":
        raise ValueError(
            'keras_vit works with channels last, and image_data_format is "channels_first"; '
            'call keras.config.set_image_data_format("channels_last").'
        )
    if shape[-3] in (1, 3) and shape[-1] is not None and shape[-1] > 4:
        raise ValueError(
            f"Expected channels last, (..., H, W, C). Received shape {shape}, which looks like channels_first; move "
            "the channels to the end, as numpy.moveaxis(x, -3, -1) does."
        )


def _per_channel(values, channels):
    values = values if channels in (3, None) else [sum(values) / 3] * channels
    return np.asarray(values, "float32")


def is_tensorflow(x):
    """Whether x is a TensorFlow tensor, found out without importing TensorFlow."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and tensorflow.is_tensor(x)
