"""Which sizes of images a family runs on, and the constructors' arguments that name sizes."""

from dataclasses import dataclass

import keras

from keras_vit.layers.image_size import ImageSize


@dataclass(frozen=True)
class Sides:
    """Which sides of images a model runs on, in pixels.

    Attributes:
        multiple: of which both must be multiples.
        why: what the multiple is, in words.
        smallest: the shortest.
        padded_to: what dynamic_img_pad=True pads to a multiple of; `multiple` by default.
    """

    multiple: int
    why: str = ""
    smallest: int = 1
    padded_to: int | None = None

    def layer(self, family, pad, native_size=None):
        """The layer before a model that checks images, or pads them."""
        multiple = (self.padded_to or self.multiple) if pad else self.multiple
        return ImageSize(family, multiple, self.smallest, pad, native_size, name="image_size")

    def rounded(self, size):
        """(H, W) in pixels, up to multiples."""
        return tuple(max(side + -side % self.multiple, self.smallest) for side in size)


def resolve_shape(input_shape, input_tensor, size):
    """The input's (H, W, C), of which H and W are None for a model of any size."""
    if input_tensor is not None and not keras.backend.is_keras_tensor(input_tensor):
        raise ValueError(f"input_tensor: expected a Keras tensor, as keras.Input gives. Received: {input_tensor!r}")
    tensor_shape = tuple(input_tensor.shape[1:]) if input_tensor is not None else None
    shape = tuple(input_shape or tensor_shape or (*size, 3))
    if tensor_shape and shape != tensor_shape:
        raise ValueError(f"input_shape {shape} differs from the shape {tensor_shape} of input_tensor. Pass only one")
    known = shape[2:] if shape[:2] == (None, None) else shape
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in known):
        raise ValueError(
            "input_shape: expected (height, width, channels), three positive whole numbers, or (None, None, channels) "
            f"for images of any size. Received: input_shape={input_shape or tensor_shape}"
        )
    if shape[0] in (1, 3) and shape[2] > 4:
        raise ValueError(
            f"input_shape: looks like (channels, height, width). Expected channels last. Received: {shape}"
        )
    return shape


def checked_native_size(size, any_size):
    """The argument `native_size` as a tuple; a ValueError where it is none, or where the model has one size."""
    if not any_size:
        raise ValueError(
            "native_size: is for models of any size; with input_shape=(height, width, channels) positions are kept for "
            f"that size. Received: native_size={size!r}"
        )
    if not isinstance(size, (tuple, list)) or len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
        raise ValueError(f"native_size: expected (height, width) in pixels. Received: native_size={size!r}")
    return tuple(size)
