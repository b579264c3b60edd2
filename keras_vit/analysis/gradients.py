"""Shared by the analyses that take gradients: TensorFlow's tape, images, scores before the classifier's activation."""

import keras
from keras import layers, ops

from keras_vit.system import keras_private


def require_tensorflow(function):
    """Raises RuntimeError on other backends."""
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"{function} takes gradients with TensorFlow. Received: the {keras.backend.backend()!r} backend; "
            "set KERAS_BACKEND=tensorflow in a process of its own"
        )


def require_images(function, model, images):
    """The batch as a float32 tensor; raises unless it has the model's shape."""
    shape = tuple(getattr(images, "shape", ()))
    expected = tuple(model.input_shape)
    fits = len(shape) == 4 and shape[0] > 0 and all(n in (None, m) for n, m in zip(expected[1:], shape[1:]))
    if not fits:
        raise ValueError(
            f"{function}: expected a batch of at least one image, {('B', *expected[1:])}, prepared as the model takes "
            f"them. Received: an array of shape {shape}"
        )
    return ops.convert_to_tensor(images, "float32")


def before_activation(function, model):
    """The scores of a classifier before its softmax or sigmoid.

    Returns:
        symbolic tensor x, and the function from its values to the scores, float32 (B, K).

    Raises:
        ValueError: unless the model ends in a Dense, an Activation or a Softmax.
    """
    last = keras_private.operation_of(model.outputs[0])
    if isinstance(last, (layers.Activation, layers.Softmax)):
        return last.input, lambda x: ops.cast(x, "float32")
    if isinstance(last, layers.Dense):
        return last.input, lambda x: _without_activation(last, ops.cast(x, "float32"))
    raise ValueError(
        f"{function}: expected a model with its classifier, a Dense at the end. Received: {model.name!r}, which ends "
        f"in {last.name!r} ({type(last).__name__}); build it with include_top=True"
    )


def _without_activation(dense, x):
    scores = ops.matmul(x, ops.cast(dense.kernel, "float32"))
    return scores if dense.bias is None else scores + ops.cast(dense.bias, "float32")
