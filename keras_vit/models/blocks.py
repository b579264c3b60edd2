"""The blocks of a model, read from the names that every family gives its layers. No other file reads such names.

A `.keras` file holds layers and their names, and no `Family`: the names are what all models have.

    block3                  block 3 of a model of one resolution (ViT, DeiT, TNT, T2T-ViT)
    stage2_block5           block 5 of stage 2 (Swin, ConvNeXt, PVT, CoaT)
    parallel1               block 1 over several stages at once (CoaT)
    stage2_block5_qkv       a layer that belongs to block 5 of stage 2
    stage2_parallel1_qkv    a layer of stage 2 that belongs to block 1 over several stages
    stage2_norm             another layer of stage 2
"""

import re
from dataclasses import dataclass

NAME = re.compile(r"(?:stage(?P<stage>\d+)_)?(?P<kind>block|parallel)(?P<index>\d+)(?:_\w+)?")
STAGE = re.compile(r"stage(\d+)_")


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


def patch_grid(model, stage=None):
    """(H, W) of the patches of a stage that embeds its own (PVT, CoaT), else of the model's patches."""
    names = {layer.name for layer in model.layers}
    own = f"stage{stage}_patch_embed"
    return tuple(model.get_layer(own if own in names else "patch_embed").output.shape[1:3])
