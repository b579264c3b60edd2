"""`preprocess_input`: images as a model takes them, by its name, its run folder or a spec."""

import numpy as np

from keras_vit.preprocessing import as_taken, refuse_channels_first, resize
from keras_vit.preprocessing.normalization import is_tensorflow
from keras_vit.sources.resolve import resolve_spec


def preprocess_input(x, spec):
    """Prepare images for a model: resize and crop them if they are not of the spec's size, then normalise.

    Args:
        x: (..., H, W, C) in [0, 255]: a numpy array or a tensor, uint8 or float. Images of the spec's size are not
            cropped.
        spec: a `Spec`; a model's name, with or without a weight tag ("SwinT", "SwinT.ms_in22k_ft_in1k", or timm's
            name for it); a run folder; or a preprocessing.json.

    Returns:
        float32 (..., H, W, C), an array or a tensor as `x` is.

    Raises:
        ValueError: for images with channels first, a spec of another kind, or a symbolic tensor of another size.
    """
    spec = resolve_spec(spec)
    x = x if hasattr(x, "shape") else np.asarray(x)
    refuse_channels_first(x)
    if any(side not in (None, expected) for side, expected in zip(x.shape[-3:-1], spec.size)):
        x = _resized_like(x, spec)
    return as_taken(x, spec)


def _resized_like(x, spec):
    """Resize an array of numpy or a tensor of any backend, and return the same kind."""
    import keras

    if isinstance(x, keras.KerasTensor):
        raise ValueError(
            f"A symbolic tensor of shape {x.shape} cannot be resized to {spec.size}; build the model with "
            f"input_shape={(*spec.size, x.shape[-1])}, or resize before."
        )
    if is_tensorflow(x):
        return resize(x, spec)
    if isinstance(x, np.ndarray):
        return resize(x, spec).numpy()
    return keras.ops.convert_to_tensor(resize(keras.ops.convert_to_numpy(x), spec).numpy())
