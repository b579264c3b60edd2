"""A model at another image size: the same architecture and weights, for images of one other size or of any."""

import keras

from keras_vit.layers.image_size import ImageSize
from keras_vit.models.blocks import block_of, require_blocks
from keras_vit.models.sides import Sides
from keras_vit.models.swin import SwinBlock
from keras_vit.system import keras_private, xla

PIXELS = "normalization"  # the layer with which models begin that take pixels in [0, 255]
KEPT = ("height", "grids", "num_patches")  # arguments by which layers of earlier versions keep a grid


def at_image_size(model, size):
    """The model for images of another size, with the same weights.

    Positions are resampled by the rule of the files that they came from; windows grow or shrink with the maps as in a
    model that is built for the size.

    Args:
        model: a functional model of this library, with or without its classifier, fresh or loaded from a .keras file.
        size: (H, W) in pixels, or one number for both, or (None, None) for images of any size.

    Returns:
        A functional `keras.Model` with layers and weights of its own; its tables of positions stay as they are and are
        resampled in the graph.

    Raises:
        ValueError: for a size that the model cannot run on, and for a model that cannot be of another size.
    """
    copies, size = {}, (size, size) if isinstance(size, int) else size

    def copy(layer):
        if id(layer) not in copies:
            copies[id(layer)] = layer, layer.__class__.from_config(layer.get_config())
        return copies[id(layer)][1]

    sized = _on(model, size, copy, checked=True)
    for old, new in copies.values():
        new.set_weights(old.get_weights())
    if keras.config.backend() == "tensorflow":
        sized.jit_compile = None not in size and xla.pays(sized)
    return sized


def view(model, size):
    """The same with the layers, and so the variables, of `model` itself; to be called, not to be searched.

    `layer.output` of its layers belongs to `model`.
    """
    return _on(model, size, lambda layer: layer, checked=False)


def _on(model, size, layer_of, checked):
    """The graph of a model on an input of another size, with the layers that `layer_of` gives for its own."""
    size = _checked_size(model, size)
    held = {layer.name: layer for layer in model.layers}
    image = model.inputs[0]
    new = keras.Input((*size, image.shape[-1]), dtype=image.dtype, name=image.name)
    front = None if "image_size" in held else sides_of(model).layer(model.name, False, _native(model, size))
    if checked and None not in size:
        (front or held["image_size"]).check(*size)  # before Keras puts its own words around the error

    def operation(layer):
        return _followed(layer_of(layer), front) if front and layer.name == PIXELS else layer_of(layer)

    first = front(new) if checked and front and PIXELS not in held else new
    front = front if checked else None
    return keras.Model(new, keras_private.run_graph(model, first, operation), name=model.name)


def _followed(layer, front):
    return lambda x: front(layer(x))


def _native(model, size):
    return tuple(model.inputs[0].shape[1:3]) if None in size else None


def _checked_size(model, size):
    require_blocks("at_image_size", model)
    size = tuple(size)
    if len(size) != 2 or not (size == (None, None) or all(isinstance(n, int) and n > 0 for n in size)):
        smallest = "{} x {}".format(*sides_of(model).rounded((1, 1)))
        raise ValueError(
            f"at_image_size: expected (height, width) in pixels, at least {smallest}, or (None, None) for any size. "
            f"Received: {size!r}"
        )
    bound = [layer.name for layer in keras_private.all_layers(model) if _keeps_size(layer)]
    if bound:
        raise ValueError(
            f"at_image_size: {model.name!r} was saved by an earlier version, whose layers keep their size (the first "
            f"is {bound[0]}). Build the model anew and load the file: keras_vit.models.<Name>(weights=FILE, "
            "input_shape=(height, width, 3))"
        )
    return size


def _keeps_size(layer):
    if isinstance(layer, SwinBlock):  # every second block shifts, and says so where its own map is too small for that
        shifts = block_of(layer.name).index % 2 == 1 and layer.window_size != (1, 1)
        return layer.largest is None and shifts and 0 in layer.shift
    patches = isinstance(layer, keras.layers.Reshape) and layer.name.endswith("flatten_patches")
    return any(getattr(layer, name, None) for name in KEPT) or patches and -1 not in layer.target_shape


def sides_of(model):
    """The `Sides` of a model of this library, read from its layers."""
    held = {layer.name: layer for layer in model.layers}
    if isinstance(held.get("image_size"), ImageSize):
        layer = held["image_size"]
        return Sides(layer.multiple, smallest=layer.smallest)
    if "stem" in held:  # ConvNeXt
        stem = held["stem"].strides[0]
        steps = sum(name.startswith("downsample") and not name.endswith("_norm") for name in held)
        return Sides(1, smallest=stem * 2**steps) if steps else Sides(stem, "the patch size")
    if "stage0_patch_pad" in held:  # PVT v2
        return Sides(1, smallest=_smallest_reduced(held))
    patches = next((layer for name, layer in reversed(held.items()) if name.endswith("patch_embed")), None)
    if patches is None:
        raise ValueError(
            f"at_image_size: expected a model of keras_vit.models. Received: {model.name!r}, which has no layer that "
            "embeds patches"
        )
    if getattr(patches, "kernel_size", None) == (1, 1):  # on the map of a ResNet, which pads by itself
        return Sides(1)
    return Sides(model.inputs[0].shape[1] // patches.output.shape[1], "the patch size")


def _smallest_reduced(held):
    """The side of an image of which each reduced map keeps a pixel (PVT v2)."""
    smallest, pixels = 1, 1
    for name, layer in held.items():
        if name.endswith("_patch_embed"):
            pixels *= layer.strides[0]
        smallest = max(smallest, pixels * (getattr(layer, "reduction", None) or 0))
    return smallest
