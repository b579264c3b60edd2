"""The blocks of a model, read from the names that every family gives its layers. No other file reads such names.

A `.keras` file holds layers and their names, and no `Family`: the names are what all models have.

    block3                  block 3 of a model of one resolution (ViT, DeiT, TNT, T2T-ViT)
    stage2_block5           block 5 of stage 2 (Swin, ConvNeXt, PVT, CoaT)
    parallel1               block 1 over several stages at once (CoaT)
    stage2_block5_qkv       a layer that belongs to block 5 of stage 2
    stage2_parallel1_qkv    a layer of stage 2 that belongs to block 1 over several stages
    stage2_norm, norm2      the norm behind the blocks of stage 2; norm is the one behind all blocks
    stage2_patch_embed      what cuts the map before stage 2 into patches; patch_embed, or stem, what cuts the image
    stage2_class_token      what puts a token before the patches of stage 2; class_token, of the last stage or all
    image_size              what checks or pads the images of a model of any size
"""

import re
from dataclasses import dataclass

import keras

NAME = re.compile(r"(?:stage(?P<stage>\d+)_)?(?P<kind>block|parallel)(?P<index>\d+)(?:_\w+)?")
STAGE = re.compile(r"stage(\d+)_")
LARGE = 2048  # pixels


@dataclass(frozen=True)
class Block:
    """A block of a model.

    Attributes:
        name: of its layer; those of a `parallel` block and of a model of one resolution have no stage in them.
        stage: counted from 0; None for a parallel block and in a model of one resolution.
        index: counted from 0, within its stage where it has one.
        parallel: whether it runs over several stages at once (CoaT).
    """

    name: str
    stage: int | None
    index: int
    parallel: bool = False

    @property
    def group(self):
        """What it is listed under: "stage2", "parallel blocks", or "blocks" in a model of one resolution."""
        if self.parallel:
            return "parallel blocks"
        return "blocks" if self.stage is None else f"stage{self.stage}"


def block_of(name):
    """The block that a layer is, or belongs to, by the layer's name; None for all other layers."""
    found = NAME.fullmatch(name)
    if not found:
        return None
    index = int(found["index"])
    if found["kind"] == "parallel":
        return Block(f"parallel{index}", None, index, parallel=True)
    if found["stage"] is None:
        return Block(f"block{index}", None, index)
    return Block(f"stage{found['stage']}_block{index}", int(found["stage"]), index)


def stage_of(name):
    """The stage that a layer belongs to, by the layer's name; None for a layer of no stage."""
    found = STAGE.match(name)
    return int(found[1]) if found else None


def blocks(model):
    """The blocks of a model, in its order: a tuple of `Block`."""
    found = ((layer.name, block_of(layer.name)) for layer in getattr(model, "layers", ()))
    return tuple(block for name, block in found if block and block.name == name)


def require_blocks(function, model):
    """The blocks of a model.

    Args:
        function: name of the caller, for the message.
        model: any object.

    Returns:
        As `blocks`.

    Raises:
        ValueError: if it has none.
    """
    found = blocks(model)
    if not found:
        raise ValueError(
            f"{function}: expected a model of keras_vit.models. Received: {getattr(model, 'name', model)!r}, "
            "which has no layers named block<i> or stage<s>_block<i>"
        )
    return found


def patch_map(model, stage=None):
    """The map of the patches of a stage that embeds its own (PVT, CoaT), else of the model's: symbolic (B, H, W, C)."""
    names = {layer.name for layer in model.layers}
    own = f"stage{stage}_patch_embed"
    return model.get_layer(own if own in names else "patch_embed").output


def patched_image(model):
    """What the patches are cut from: symbolic (B, H, W, C), the model's input, or what it is padded to."""
    padded = [layer.output for layer in model.layers if layer.name == "image_size"]
    return padded[0] if padded else model.inputs[0]


def patch_grid(model, stage=None, image_size=None):
    """(H, W) of the patches of a stage that embeds its own (PVT, CoaT), else of the model's patches.

    Args:
        model: a model of this library.
        stage: its number, or None.
        image_size: (H, W) in pixels, for a model of any size; by default that of the model's input.
    """
    return sizes_at(model, patch_map(model, stage), image_size)[1:3]


def sizes_at(model, tensors, image_size=None):
    """The shapes that tensors of a model have for images of a size.

    Args:
        model: a functional model with one input (B, H, W, C).
        tensors: symbolic tensors of the model, in dictionaries and lists.
        image_size: (H, W) in pixels; by default that of the model's input, where nothing is to be computed.

    Returns:
        Their shapes as they were given; the first entry, the number of images, has no meaning.
    """
    if image_size and None in model.inputs[0].shape[1:]:
        image = (1, *image_size, model.inputs[0].shape[-1])
        tensors = keras.Model(model.inputs[0], tensors).compute_output_spec(keras.KerasTensor(image))
    return keras.tree.map_structure(lambda x: tuple(x.shape), tensors)


def large_image(model):
    """(H, W) in pixels of an image that the model takes; in a model of any size, large enough to show its strides."""
    height, width = model.inputs[0].shape[1:3]
    if None not in (height, width):
        return height, width
    multiple = next((layer.multiple for layer in model.layers if layer.name == "image_size"), 1)
    return (-(-LARGE // multiple) * multiple,) * 2


def norm_name(model, stage):
    """The name of the norm that the outputs of a stage's blocks go through, by themselves or before they are pooled.

    Args:
        stage: its number; None in a model of one resolution.

    Returns:
        None where the stage has none, as all but the last stage of most models, or where it comes after pooling.
    """
    last = max((block.stage or 0 for block in blocks(model)), default=0)
    names = [f"stage{stage}_norm", f"norm{stage}", *(["norm"] if stage in (None, last) else ())]
    behind_places = {layer.name for layer in model.layers if layer.name in names and len(layer.output.shape) > 2}
    return next((name for name in names if name in behind_places), None)


def has_class_token(model, stage):
    """Whether a class token stands before the patches of a stage; of the model, where that has one resolution."""
    last = max((block.stage or 0 for block in blocks(model)), default=0)
    names = {layer.name for layer in model.layers}
    return f"stage{stage}_class_token" in names or ("class_token" in names and stage in (None, last))
